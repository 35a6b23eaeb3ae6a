package wire

import (
	"context"
	"strings"

	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// maxListed is how many queues one page of a list holds at most.
const maxListed = 1000

// queueAt finds the queue that a QueueUrl names. A URL with any host will do, and so will a plain name.
func (h *Handler) queueAt(queueURL string) (*queue.Queue, error) {
	return h.Queues.Queue(queueURL[strings.LastIndexByte(queueURL, '/')+1:])
}

// queueURL is the URL of a queue, with the host that the client used.
func (h *Handler) queueURL(c *call, name string) string {
	return "http://" + c.host + "/" + h.Queues.Account() + "/" + name
}

func (h *Handler) createQueue(_ context.Context, c *call, in *createQueueInput) (*queueURLOutput, error) {
	q, err := h.Queues.Create(in.QueueName, in.Attributes, in.Tags)
	if err != nil {
		return nil, err
	}
	return &queueURLOutput{h.queueURL(c, q.Name())}, nil
}

func (h *Handler) deleteQueue(_ context.Context, _ *call, q *queue.Queue, _ *queueRef) (*struct{}, error) {
	return nil, h.Queues.Delete(q.Name())
}

func (h *Handler) getQueueURL(_ context.Context, c *call, in *getQueueURLInput) (*queueURLOutput, error) {
	if in.QueueName == "" {
		return nil, apierr.New(queue.CodeInvalidParameter, "Value for parameter QueueName is invalid. Reason: Must specify a queue name.")
	}
	q, err := h.Queues.Queue(in.QueueName)
	if err != nil {
		return nil, err
	}
	return &queueURLOutput{h.queueURL(c, q.Name())}, nil
}

func (h *Handler) listQueues(_ context.Context, c *call, in *listQueuesInput) (*listQueuesOutput, error) {
	names, next, err := queuePage(h.Queues.Names(in.Prefix), in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &listQueuesOutput{h.queueURLs(c, names), next}, nil
}

func (h *Handler) listDeadLetterSourceQueues(_ context.Context, c *call, q *queue.Queue, in *listSourcesInput) (*listSourcesOutput, error) {
	names, next, err := queuePage(h.Queues.DeadLetterSources(q), in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &listSourcesOutput{h.queueURLs(c, names), next}, nil
}

func (h *Handler) queueURLs(c *call, names []string) []string {
	var urls []string
	for _, name := range names {
		urls = append(urls, h.queueURL(c, name))
	}
	return urls
}

// queuePage is a page of queue names. Without a limit there is one page only, and no token.
func queuePage(names []string, maxResults *int, token string) (cut []string, next string, err error) {
	if maxResults == nil {
		cut, _, err = page(sqs, names, itself, maxListed, token)
		return cut, "", err
	}
	if *maxResults < 1 || *maxResults > maxListed {
		return nil, "", apierr.New(queue.CodeInvalidParameter, "Value %d for parameter MaxResults is invalid. "+
			"Reason: MaxResults must be an integer between 1 and %d.", *maxResults, maxListed)
	}
	return page(sqs, names, itself, *maxResults, token)
}

func (h *Handler) getQueueAttributes(_ context.Context, _ *call, q *queue.Queue, in *getAttributesInput) (*getAttributesOutput, error) {
	found, err := q.Attributes(in.Names)
	return &getAttributesOutput{found}, err
}

func (h *Handler) setQueueAttributes(_ context.Context, _ *call, q *queue.Queue, in *setAttributesInput) (*struct{}, error) {
	return nil, q.SetAttributes(in.Attributes)
}

func (h *Handler) purgeQueue(_ context.Context, _ *call, q *queue.Queue, _ *queueRef) (*struct{}, error) {
	return nil, q.Purge()
}

func (h *Handler) tagQueue(_ context.Context, _ *call, q *queue.Queue, in *tagQueueInput) (*struct{}, error) {
	return nil, q.Tag(in.Tags)
}

func (h *Handler) untagQueue(_ context.Context, _ *call, q *queue.Queue, in *untagQueueInput) (*struct{}, error) {
	return nil, q.Untag(in.TagKeys)
}

func (h *Handler) listQueueTags(_ context.Context, _ *call, q *queue.Queue, _ *queueRef) (*listTagsOutput, error) {
	tags, err := q.Tags()
	return &listTagsOutput{tags}, err
}

func (h *Handler) deleteMessage(_ context.Context, c *call, q *queue.Queue, in *deleteInput) (*struct{}, error) {
	errs, err := deletion(q, c)([]string{in.ReceiptHandle})
	if err != nil {
		return nil, err
	}
	return nil, errs[0]
}

// deletion is how messages are deleted: as it should be, or as a fault rule wants it.
func deletion(q *queue.Queue, c *call) func(handles []string) ([]error, error) {
	if c.verdict.Kind == faults.Redeliver {
		return q.PretendDelete
	}
	return q.Delete
}

func (h *Handler) changeMessageVisibility(_ context.Context, _ *call, q *queue.Queue, in *changeVisibilityInput) (*struct{}, error) {
	if in.VisibilityTimeout == nil {
		return nil, apierr.New(queue.CodeMissingParameter, "The request must contain the parameter VisibilityTimeout.")
	}
	errs, err := q.ChangeVisibility([]queue.VisibilityChange{{
		ReceiptHandle: in.ReceiptHandle, VisibilityTimeout: *in.VisibilityTimeout,
	}})
	if err != nil {
		return nil, err
	}
	return nil, errs[0]
}

func (h *Handler) deleteMessageBatch(_ context.Context, c *call, q *queue.Queue, in *deleteBatchInput) (*deleteBatchOutput, error) {
	b := newBatch(c, len(in.Entries), func(i int) string { return in.Entries[i].ID })
	if err := queue.CheckBatch(b.ids, "DeleteMessageBatchRequestEntry"); err != nil {
		return nil, err
	}
	handles := make([]string, 0, len(in.Entries))
	for _, i := range b.going {
		handles = append(handles, in.Entries[i].ReceiptHandle)
	}
	errs, err := deletion(q, c)(handles)
	if err != nil {
		return nil, err
	}
	out := &deleteBatchOutput{}
	out.Successful, out.Failed = b.results(errs)
	return out, nil
}

func (h *Handler) changeMessageVisibilityBatch(_ context.Context, c *call, q *queue.Queue, in *changeBatchInput) (*changeBatchOutput, error) {
	b := newBatch(c, len(in.Entries), func(i int) string { return in.Entries[i].ID })
	if err := queue.CheckBatch(b.ids, "ChangeMessageVisibilityBatchRequestEntry"); err != nil {
		return nil, err
	}
	changes := make([]queue.VisibilityChange, 0, len(in.Entries))
	for _, i := range b.going {
		entry := in.Entries[i]
		if entry.VisibilityTimeout == nil {
			return nil, apierr.New(queue.CodeMissingParameter, "The request must contain the parameter "+
				"ChangeMessageVisibilityBatchRequestEntry.%d.VisibilityTimeout.", i+1)
		}
		changes = append(changes, queue.VisibilityChange{
			ReceiptHandle: entry.ReceiptHandle, VisibilityTimeout: *entry.VisibilityTimeout,
		})
	}
	errs, err := q.ChangeVisibility(changes)
	if err != nil {
		return nil, err
	}
	out := &changeBatchOutput{}
	out.Successful, out.Failed = b.results(errs)
	return out, nil
}

// batch keeps apart the entries of a batch that fault rules fail and those that go on.
type batch struct {
	ids    []string
	going  []int // positions of the entries that go on
	failed []batchError
}

func newBatch(c *call, n int, id func(int) string) *batch {
	b := &batch{ids: make([]string, n), going: make([]int, 0, n)}
	c.entries = n
	for i := range n {
		b.ids[i] = id(i)
		if f, ok := c.failed(i); ok {
			b.failed = append(b.failed, batchError{b.ids[i], f.Code, injectedMessage, f.SenderFault})
		} else {
			b.going = append(b.going, i)
		}
	}
	return b
}

// results sorts the outcome of the entries that went on.
func (b *batch) results(errs []error) (successful []batchID, failed []batchError) {
	failed = b.failed
	successful = make([]batchID, 0, len(errs))
	for i, err := range errs {
		id := b.ids[b.going[i]]
		if err == nil {
			successful = append(successful, batchID{id})
		} else {
			failed = append(failed, newBatchError(id, err))
		}
	}
	return successful, failed
}

func newBatchError(id string, err error) batchError {
	e := asAPIError(err)
	return batchError{ID: id, Code: e.Code, Message: e.Message, SenderFault: true}
}
