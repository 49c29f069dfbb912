package switchboard

import (
	"context"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// page is the answer of a List call.
type page interface {
	GetNextPageToken() string
}

// request is a pointer to a List call's message.
type request[R any] interface {
	*R
	proto.Message
	GetPageToken() string
}

// Pages reads a list of any length, page after page, as it is ranged over. It begins where the request's page token
// says, and leaves the request as it is. An error is the last thing it gives.
//
//	request := &v1.ListAgentsRequest{PageSize: 100}
//	for agent, err := range switchboard.Pages(ctx, client.Agents.ListAgents, request, (*v1.ListAgentsResponse).GetAgents) {
//		…
//	}
func Pages[R any, Request request[R], Page page, Item any](
	ctx context.Context,
	list func(context.Context, Request, ...grpc.CallOption) (Page, error),
	request Request,
	items func(Page) []Item,
) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		request := proto.CloneOf(request)
		token := request.ProtoReflect().Descriptor().Fields().ByName("page_token")
		for {
			page, err := list(ctx, request)
			if err != nil {
				var none Item
				yield(none, err)
				return
			}
			for _, item := range items(page) {
				if !yield(item, nil) {
					return
				}
			}
			switch page.GetNextPageToken() {
			case "":
				return
			case request.GetPageToken():
				// Going on would read the same page for ever.
				var none Item
				yield(none, status.Error(codes.Internal, "the page after a page has the same token"))
				return
			}
			request.ProtoReflect().Set(token, protoreflect.ValueOfString(page.GetNextPageToken()))
		}
	}
}
