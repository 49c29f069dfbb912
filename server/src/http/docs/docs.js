// Shows /openapi.json: routes by tag, their parameters, bodies and answers, and a form that calls them.
//
// No dependencies, no inline scripts or styles, nothing from another origin: the page's policy is `default-src 'self'`.
// Text from the document only ever becomes text nodes. What is typed as a credential lives in `credentials` below and
// nowhere else: not in the address, not in storage, and it is gone when the page is.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];

/** What the person typed, by the name of the security scheme. */
const credentials = new Map();
/** Called when a credential changes, so that every curl line follows. */
const onCredential = [];
/** The OpenAPI document. */
let api = {};

// ---- building the page

/** Makes an element. Attributes with the value `null`, `undefined` or `false` are left out. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Shows the little Markdown that descriptions use: paragraphs, lists, `code`, and bare links. */
function prose(text) {
  if (!text) return null;
  const blocks = text.trim().split(/\n\s*\n/).map((block) => {
    const lines = block.split("\n");
    if (lines.every((line) => /^\s*[-*] /.test(line))) {
      return make("ul", {}, lines.map((line) => make("li", {}, inline(line.replace(/^\s*[-*] /, "")))));
    }
    return make("p", {}, inline(lines.join(" ")));
  });
  return make("div", { class: "prose" }, blocks);
}

function inline(text) {
  return text.split(/(`[^`]+`|https?:\/\/[^\s)>\]]+)/).map((part, at) => {
    if (at % 2 === 0) return part;
    if (part.startsWith("`")) return make("code", {}, part.slice(1, -1));
    return make("a", { href: part, rel: "noreferrer" }, part);
  });
}

// ---- reading the document

/** Follows references, as deep as they go. */
function resolve(node) {
  let current = node;
  for (let hops = 0; current && current.$ref && hops < 32; hops += 1) {
    const { $ref, ...beside } = current;
    const steps = $ref.startsWith("#/") ? $ref.slice(2).split("/") : [];
    const target = steps
      .map((step) => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~"))
      .reduce((at, step) => (at === undefined || at === null ? undefined : at[step]), steps.length ? api : undefined);
    // What stands beside a reference, such as a description, adds to its target (OpenAPI 3.1).
    current = target === undefined ? { description: `Unknown reference ${$ref}` } : { ...target, ...beside };
  }
  return current || {};
}

function referenceName(node) {
  return node && node.$ref ? node.$ref.split("/").pop() : null;
}

/** Gives a schema with its references and `allOf` parts put together. */
function flatten(node, depth = 0) {
  const schema = resolve(node);
  if (!schema.allOf || depth > 16) return schema;
  const { allOf, ...own } = schema;
  return [...allOf.map((part) => flatten(part, depth + 1)), own].reduce((whole, part) => ({
    ...whole,
    ...part,
    properties: { ...whole.properties, ...part.properties },
    required: [...(whole.required || []), ...(part.required || [])],
  }));
}

/** The alternatives of a schema without "null", and whether there was one. */
function alternatives(schema) {
  const all = schema.oneOf || schema.anyOf;
  if (!all) return null;
  const rest = all.filter((part) => resolve(part).type !== "null");
  return { rest, nullable: rest.length < all.length };
}

function typesOf(schema) {
  const types = Array.isArray(schema.type) ? schema.type : schema.type ? [schema.type] : [];
  if (!types.length && schema.properties) types.push("object");
  if (!types.length && schema.items) types.push("array");
  return types;
}

/** Says in a few words what a value looks like. */
function typeText(node, depth = 0) {
  const schema = flatten(node);
  const choice = alternatives(schema);
  if (choice && depth < 6) {
    const texts = choice.rest.map((part) => typeText(part, depth + 1));
    return [...new Set(texts), ...(choice.nullable ? ["null"] : [])].join(" or ");
  }
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const words = typesOf(schema).map((type) => {
    if (type === "array" && depth < 6) return `array of ${schema.items ? typeText(schema.items, depth + 1) : "anything"}`;
    if (type === "object") return referenceName(node) || "object";
    return schema.format && type !== "null" ? `${type} (${schema.format})` : type;
  });
  return words.join(" or ") || "anything";
}

/** Says what a value may be, beyond its type. */
function limitsText(schema) {
  const limits = [];
  const add = (key, words) => schema[key] !== undefined && limits.push(`${words} ${JSON.stringify(schema[key])}`);
  if (schema.enum) limits.push(`one of ${schema.enum.map((value) => JSON.stringify(value)).join(", ")}`);
  add("minLength", "at least");
  add("maxLength", "length at most");
  add("minimum", "from");
  add("maximum", "to");
  add("minItems", "items at least");
  add("maxItems", "items at most");
  add("pattern", "like");
  add("default", "default");
  if (schema.readOnly) limits.push("read only");
  if (schema.writeOnly) limits.push("write only");
  if (schema.deprecated) limits.push("deprecated");
  return limits.join(" · ");
}

/**
 * Makes up a value that fits a schema; for a request without the members that only answers have. `trail` holds the
 * references on the way, so that a cycle ends.
 */
function example(node, asked, trail = []) {
  const name = node && node.$ref;
  if (name && trail.includes(name)) return null;
  const path = name ? [...trail, name] : trail;
  const schema = flatten(node);
  if (schema.example !== undefined) return schema.example;
  if (Array.isArray(schema.examples) && schema.examples.length) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const choice = alternatives(schema);
  if (choice) return choice.rest.length ? example(choice.rest[0], asked, path) : null;
  switch (typesOf(schema).find((type) => type !== "null")) {
    case "object":
      return Object.fromEntries(
        Object.entries(schema.properties || {})
          .filter(([, member]) => !(asked && resolve(member).readOnly))
          .map(([key, member]) => [key, example(member, asked, path)]),
      );
    case "array":
      return schema.items && !path.includes(schema.items.$ref) ? [example(schema.items, asked, path)] : [];
    case "string":
      if (schema.format === "uuid") return "0198c0de-0000-7000-8000-000000000004";
      if (schema.format === "date-time") return "2026-01-31T12:00:00Z";
      if (schema.format === "uri") return "https://example.com/messages";
      return "string";
    case "integer":
    case "number":
      return schema.minimum || 0;
    case "boolean":
      return true;
    default:
      return null;
  }
}

/** The example of a body: its own, the first of several, or one made up. */
function exampleOf(media, asked) {
  if (media.example !== undefined) return media.example;
  const first = Object.values(media.examples || {})[0];
  if (first) return resolve(first).value;
  return media.schema ? example(media.schema, asked) : undefined;
}

function pretty(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** Every operation, in the order of the tags that the document declares; those without a tag come last. */
function operationsByTag() {
  const tags = new Map((api.tags || []).map((tag) => [tag.name, { ...tag, operations: [] }]));
  for (const [path, item] of Object.entries(api.paths || {})) {
    const shared = resolve(item);
    for (const method of METHODS.filter((name) => shared[name])) {
      const operation = shared[method];
      const own = (operation.parameters || []).map(resolve);
      const inherited = (shared.parameters || [])
        .map(resolve)
        .filter((outer) => !own.some((inner) => inner.name === outer.name && inner.in === outer.in));
      const name = (operation.tags || ["others"])[0];
      if (!tags.has(name)) tags.set(name, { name, operations: [] });
      tags.get(name).operations.push({
        ...operation,
        method,
        path,
        parameters: [...inherited, ...own],
        schemes: [...new Set((operation.security || api.security || []).flatMap((one) => Object.keys(one)))],
        anchor: `${method}-${path}`.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/-$/, ""),
      });
    }
  }
  return [...tags.values()].filter((tag) => tag.operations.length);
}

// ---- reference

function member(name, node, required, trail) {
  const schema = flatten(node);
  const limits = limitsText(schema);
  return make(
    "li",
    {},
    make(
      "div",
      { class: "member" },
      name ? make("span", { class: "name" }, name) : null,
      make("span", { class: "type" }, typeText(node)),
      required ? make("span", { class: "required" }, "required") : null,
    ),
    limits ? make("div", { class: "limits" }, limits) : null,
    prose(schema.description),
    inner(node, trail),
  );
}

/** The members inside a value: of an object, of an array's items, of alternatives. A cycle is shown once. */
function inner(node, trail) {
  const name = node && node.$ref;
  if (name && trail.includes(name)) return null;
  const path = name ? [...trail, name] : trail;
  const schema = flatten(node);
  const choice = alternatives(schema);
  if (choice) {
    const parts = choice.rest.map((part) => (choice.rest.length > 1 ? member(null, part, false, path) : inner(part, path)));
    return choice.rest.length > 1 ? make("ul", { class: "members" }, parts) : parts;
  }
  if (schema.properties && Object.keys(schema.properties).length) {
    const required = schema.required || [];
    const entries = Object.entries(schema.properties);
    return make("ul", { class: "members" }, entries.map(([key, value]) => member(key, value, required.includes(key), path)));
  }
  if (schema.items) return inner(schema.items, path);
  if (schema.additionalProperties && typeof schema.additionalProperties === "object") {
    return make("ul", { class: "members" }, member("<any name>", schema.additionalProperties, false, path));
  }
  return null;
}

function parameterList(operation) {
  if (!operation.parameters.length) return null;
  const items = operation.parameters.map((parameter) => {
    const schema = flatten(parameter.schema || {});
    const limits = limitsText(schema);
    return make(
      "li",
      {},
      make(
        "div",
        { class: "member" },
        make("span", { class: "name" }, parameter.name),
        make("span", { class: "type" }, `${parameter.in} · ${typeText(parameter.schema || {})}`),
        parameter.required ? make("span", { class: "required" }, "required") : null,
      ),
      limits ? make("div", { class: "limits" }, limits) : null,
      prose(parameter.description || schema.description),
    );
  });
  return [make("h4", {}, "Parameters"), make("ul", { class: "members" }, items)];
}

function bodyReference(operation) {
  const body = resolve(operation.requestBody);
  return Object.entries(body.content || {}).map(([type, media]) => [
    make("h4", {}, `Body · ${type}`),
    prose(body.description),
    inner(media.schema || {}, []) || make("p", { class: "type" }, typeText(media.schema || {})),
  ]);
}

/** A response's description: our documents name error reasons there, which read better as such. */
function reasonsAndText(description) {
  const parts = (description || "").split(/\b([A-Z]{2,}(?:_[A-Z0-9]+)+|OVERLOADED|UNAVAILABLE|INTERNAL)\b/);
  const reasons = parts.filter((_, at) => at % 2 === 1);
  const text = parts.filter((_, at) => at % 2 === 0).join("").replace(/^[\s,;.]+|[\s,;]+$/g, "");
  // Inside a sentence a reason is a word of it; only a bare list is taken apart.
  return /[a-z]/.test(text) ? { reasons: [], text: description } : { reasons, text: "" };
}

function answers(operation) {
  const entries = Object.entries(operation.responses || {});
  if (!entries.length) return null;
  return [
    make("h4", {}, "Answers"),
    entries.map(([status, node]) => {
      const response = resolve(node);
      const { reasons, text } = reasonsAndText(response.description);
      const inside = [];
      for (const [name, header] of Object.entries(response.headers || {})) {
        inside.push(make("ul", { class: "members" }, member(`${name}:`, { ...resolve(header).schema, description: resolve(header).description }, false, [])));
      }
      for (const [type, media] of Object.entries(response.content || {})) {
        const sample = exampleOf(media, false);
        inside.push(
          make("div", { class: "type" }, `${type} · ${typeText(media.schema || {})}`),
          inner(media.schema || {}, []),
          sample === undefined ? null : make("pre", { tabindex: "0", "aria-label": `Example of the ${status} answer` }, pretty(sample)),
        );
      }
      const kind = status.startsWith("2") ? "good" : status.startsWith("3") ? "moved" : "bad";
      return make(
        "details",
        { class: inside.length ? "answer" : "answer bare" },
        make(
          "summary",
          // Without anything inside there is nothing to open.
          inside.length ? {} : { tabindex: "-1", onclick: (event) => event.preventDefault() },
          make("span", { class: `code ${kind}` }, status),
          reasons.map((reason) => make("span", { class: "reason" }, reason)),
          text ? make("span", { class: "summary-text" }, inline(text)) : null,
        ),
        make("div", { class: "inside" }, inside),
      );
    }),
  ];
}

// ---- trying a route

/** The header that a security scheme is carried in, and what stands in it. */
function credentialHeader(name) {
  const scheme = resolve((api.components && api.components.securitySchemes && api.components.securitySchemes[name]) || {});
  const typed = (credentials.get(name) || "").trim();
  if (scheme.type === "http") return { header: "Authorization", value: typed && `Bearer ${typed.replace(/^bearer\s+/i, "")}` };
  if (scheme.type === "apiKey" && scheme.in === "header") {
    // An agent's token is sent like a bearer key; people paste it bare.
    return { header: scheme.name, value: /^sb[a-z]_/.test(typed) ? `Bearer ${typed}` : typed };
  }
  return null;
}

function field(label, hint, control) {
  return make("label", { class: "field" }, make("span", {}, make("span", { class: "mono" }, label), make("span", { class: "type" }, hint)), control);
}

function control(parameter) {
  const schema = flatten(parameter.schema || {});
  const choices = schema.enum || (typesOf(schema).includes("boolean") ? ["true", "false"] : null);
  const attributes = { required: parameter.required, "data-in": parameter.in, "data-name": parameter.name };
  if (choices) {
    const options = choices.map((choice) => make("option", { value: String(choice) }, String(choice)));
    return make("select", attributes, make("option", { value: "" }, "—"), options);
  }
  const sample = parameter.example === undefined ? schema.example : parameter.example;
  return make("input", {
    ...attributes,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: sample === undefined ? schema.format || "" : pretty(sample),
  });
}

function shellQuote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function curl(request, hidden) {
  const lines = [`curl${request.method === "GET" ? "" : ` -X ${request.method}`} ${shellQuote(request.url)}`];
  for (const { name, value, secret } of request.headers) {
    lines.push(`-H ${shellQuote(`${name}: ${hidden && secret ? value.replace(/[^\s]+$/, "•••") : value}`)}`);
  }
  if (request.body) lines.push(`--data-raw ${shellQuote(request.body)}`);
  return lines.join(" \\\n  ");
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages without TLS have no clipboard; a selected text can be copied all the same.
    const area = make("textarea", { class: "unseen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

function attempt(operation) {
  const content = Object.entries(resolve(operation.requestBody).content || {})[0];
  const inputs = operation.parameters.filter((parameter) => parameter.in !== "cookie").map((parameter) => ({ parameter, input: control(parameter) }));
  const wrong = make("p", { class: "wrong", role: "status" });
  const body = content ? make("textarea", { spellcheck: "false", "aria-label": "Body" }) : null;
  if (body) {
    const sample = exampleOf(content[1], true);
    body.value = sample === undefined ? "" : pretty(sample);
    body.rows = Math.min(16, body.value.split("\n").length + 1);
  }

  const build = () => {
    let path = operation.path;
    const query = new URLSearchParams();
    const headers = [];
    for (const { parameter, input } of inputs) {
      const value = input.value.trim();
      if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, value ? encodeURIComponent(value) : `{${parameter.name}}`);
      else if (value && parameter.in === "query") query.append(parameter.name, value);
      else if (value && parameter.in === "header") headers.push({ name: parameter.name, value });
    }
    for (const scheme of operation.schemes) {
      const credential = credentialHeader(scheme);
      if (credential && credential.value) headers.push({ name: credential.header, value: credential.value, secret: true });
    }
    if (body && body.value) headers.push({ name: "Content-Type", value: content[0] });
    return {
      method: operation.method.toUpperCase(),
      url: `${location.origin}${path}${query.size ? `?${query}` : ""}`,
      headers,
      body: body && body.value ? body.value : undefined,
    };
  };

  const line = make("pre", { class: "wrap", tabindex: "0", "aria-label": "The call as a curl command" });
  const refresh = () => {
    line.textContent = curl(build(), true);
    wrong.textContent = "";
    if (body && body.value && content[0].includes("json")) {
      try {
        JSON.parse(body.value);
      } catch (error) {
        wrong.textContent = `Not JSON: ${error.message}. It is sent as it stands.`;
      }
    }
  };
  onCredential.push(refresh);

  const result = make("div", { class: "result", role: "status" });
  const send = make("button", { class: "main", type: "submit" }, "Send");
  const form = make(
    "form",
    {
      oninput: refresh,
      onsubmit: async (event) => {
        event.preventDefault();
        send.disabled = true;
        result.replaceChildren(make("p", {}, "Calling…"));
        result.replaceChildren(...(await call(build())));
        send.disabled = false;
      },
    },
    make("h4", {}, "Try it"),
    inputs.map(({ parameter, input }) => field(parameter.name, parameter.required ? `${parameter.in}, required` : parameter.in, input)),
    body ? field("body", content[0], body) : null,
    wrong,
    make(
      "div",
      { class: "buttons" },
      send,
      operation.schemes.length
        ? make("span", { class: "type" }, `with ${operation.schemes.map(schemeTitle).join(" or ")}, from the top of the page`)
        : null,
    ),
    make(
      "div",
      { class: "curl-head" },
      make("h4", {}, "curl"),
      make("button", { type: "button", onclick: (event) => copy(curl(build(), false), event.currentTarget) }, "Copy"),
    ),
    line,
  );
  refresh();
  return make("div", { class: "attempt" }, form, result);
}

async function call(request) {
  const begun = performance.now();
  try {
    const response = await fetch(request.url, {
      method: request.method,
      headers: request.headers.map(({ name, value }) => [name, value]),
      body: request.body,
      credentials: "omit",
      redirect: "manual",
    });
    const text = await response.text();
    const elapsed = Math.round(performance.now() - begun);
    let shown = text;
    try {
      shown = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Not JSON: shown as it came.
    }
    const kind = response.ok ? "good" : response.status < 400 ? "moved" : "bad";
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    return [
      make("p", {}, make("span", { class: `code ${kind}` }, `${response.status} ${response.statusText}`.trim()), ` in ${elapsed} ms`),
      shown ? make("pre", { class: "wrap", tabindex: "0", "aria-label": "The answer" }, shown) : make("p", { class: "type" }, "No body."),
      make("details", {}, make("summary", {}, "Headers"), make("pre", {}, headers)),
    ];
  } catch (error) {
    // A header with a forbidden character, or nobody at the other end.
    return [make("p", { class: "wrong" }, `No answer: ${error.message}`)];
  }
}

// ---- the page

function schemeTitle(name) {
  return name.replaceAll("_", " ");
}

function credentialCard() {
  const schemes = Object.keys((api.components && api.components.securitySchemes) || {}).filter(credentialHeader);
  if (!schemes.length) return null;
  const fields = schemes.map((name) => {
    const { header } = credentialHeader(name);
    const description = resolve(api.components.securitySchemes[name]).description;
    const input = make("input", {
      type: "password",
      autocomplete: "off",
      spellcheck: "false",
      title: description,
      oninput: () => {
        credentials.set(name, input.value);
        onCredential.forEach((refresh) => refresh());
      },
    });
    return field(schemeTitle(name), header, input);
  });
  return make(
    "section",
    { class: "card credentials", "aria-labelledby": "credentials" },
    make("h2", { id: "credentials" }, "Credentials"),
    make("p", {}, "Used by the forms below. They stay in this page's memory and are gone when you leave it."),
    make("form", { class: "fields", onsubmit: (event) => event.preventDefault() }, fields),
  );
}

function operationCard(operation) {
  return make(
    "article",
    { class: operation.deprecated ? "card operation deprecated" : "card operation", id: operation.anchor, "aria-labelledby": `${operation.anchor}-title` },
    make(
      "header",
      {},
      make(
        "h3",
        { id: `${operation.anchor}-title` },
        make("span", { class: `method ${operation.method}` }, operation.method),
        make("span", { class: "path" }, operation.path),
        make("a", { class: "anchor", href: `#${operation.anchor}`, "aria-label": "Link to this route" }, "#"),
      ),
      operation.summary ? make("p", {}, make("strong", {}, inline(operation.summary))) : null,
      prose(operation.description),
    ),
    make(
      "div",
      { class: "halves" },
      make("div", { class: "reference" }, parameterList(operation), bodyReference(operation), answers(operation)),
      attempt(operation),
    ),
  );
}

function menu(tags) {
  return tags.map((tag) =>
    make(
      "section",
      {},
      make("h2", {}, tag.name),
      make(
        "ul",
        {},
        tag.operations.map((operation) =>
          make(
            "li",
            { "data-text": `${operation.method} ${operation.path} ${operation.summary || ""} ${tag.name}`.toLowerCase() },
            make(
              "a",
              { href: `#${operation.anchor}`, title: operation.summary },
              make("span", { class: `method ${operation.method}` }, operation.method),
              make("span", { class: "path" }, operation.path),
            ),
          ),
        ),
      ),
    ),
  );
}

function connectMenu() {
  const panel = document.getElementById("menu");
  const button = document.getElementById("menu-button");
  const filter = document.getElementById("filter");
  const open = (shown) => {
    panel.classList.toggle("open", shown);
    button.setAttribute("aria-expanded", String(shown));
  };
  button.addEventListener("click", () => open(!panel.classList.contains("open")));
  panel.addEventListener("click", (event) => event.target.closest("a") && open(false));
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      open(true);
      filter.focus();
    } else if (event.key === "Escape" && panel.classList.contains("open")) {
      open(false);
      button.focus();
    }
  });
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const section of panel.querySelectorAll("section")) {
      const items = [...section.querySelectorAll("li")];
      items.forEach((item) => (item.hidden = !words.every((word) => item.dataset.text.includes(word))));
      section.hidden = items.every((item) => item.hidden);
    }
  });

  // Marks the route that is being read.
  const links = new Map([...panel.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        links.forEach((link) => link.removeAttribute("aria-current"));
        const link = links.get(entry.target.id);
        if (link) link.setAttribute("aria-current", "location");
      }
    },
    { rootMargin: "-15% 0px -75% 0px" },
  );
  document.querySelectorAll("article").forEach((article) => watcher.observe(article));
}

function show() {
  const info = api.info || {};
  const tags = operationsByTag();
  document.title = `${info.title || "API"} · API`;
  document.getElementById("title").textContent = info.title || "API";
  document.getElementById("version").textContent = info.version || "";
  document.getElementById("routes").replaceChildren(...menu(tags));
  const lead = prose(info.description);
  if (lead) lead.classList.add("lead");
  document.getElementById("content").replaceChildren(
    ...[
      make("h1", {}, `${info.title || "API"} API`),
      lead,
      credentialCard(),
      ...tags.map((tag) => make("section", { class: "tag" }, make("h2", {}, tag.name), prose(tag.description), tag.operations.map(operationCard))),
    ].filter(Boolean),
  );
  connectMenu();
  // The routes were not there yet when the browser looked for the one in the address.
  const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted) wanted.scrollIntoView();
}

async function start() {
  try {
    const response = await fetch("/openapi.json", { headers: { accept: "application/json" }, credentials: "omit" });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    api = await response.json();
    show();
  } catch (error) {
    const again = make("button", { type: "button", onclick: start }, "Try again");
    document
      .getElementById("content")
      .replaceChildren(make("div", { class: "trouble", role: "alert" }, make("p", {}, `The description of the API could not be shown: ${error.message}`), again));
  }
}

start();
