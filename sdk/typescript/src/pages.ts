/** What every List call answers. */
export interface Page {
  readonly nextPageToken: string;
}

/**
 * Walks through the pages of a List call, fetching each when it is needed.
 *
 * ```ts
 * for await (const page of pages((pageToken) => client.agents.listAgents({ pageToken }))) {
 *   for (const agent of page.agents) console.log(agent.displayName);
 * }
 * ```
 */
export async function* pages<P extends Page>(list: (pageToken: string) => Promise<P>): AsyncGenerator<P, void, undefined> {
  let pageToken = "";
  do {
    const page = await list(pageToken);
    yield page;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}

/**
 * Walks through the items of all pages of a List call.
 *
 * ```ts
 * const list = (pageToken: string) => client.agents.listAgents({ pageToken });
 * for await (const agent of items(list, (page) => page.agents)) console.log(agent.displayName);
 * ```
 */
export async function* items<P extends Page, T>(
  list: (pageToken: string) => Promise<P>,
  select: (page: P) => Iterable<T>,
): AsyncGenerator<T, void, undefined> {
  for await (const page of pages(list)) yield* select(page);
}
