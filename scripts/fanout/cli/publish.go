package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/producer"
)

func newPublish(g *globals) *cobra.Command {
	var format, source, topicARN string
	var rate float64
	var maxFuture time.Duration
	var asJSON, redrive bool
	cmd := &cobra.Command{
		Use:   "publish FILE|-",
		Short: "Publish the events of a file to the topic",
		Long: `Publishes the events of a file, or of standard input, through the producer SDK. One line is one event:

  ` + exampleLine() + `

with an optional "id" and "source"; a line with a full CloudEvents JSON event is taken too. Bad lines are reported with
their number and the reason, and the rest goes on.

--redrive sends the dead letters of a file that "dlq drop" or "dlq export" has written: each to the queue that it came
from, not to the topic, in order per device. Services know the events by their identity, so sending them twice does
no harm.

` + exitCodes,
		Args: exactly(1, "a file, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := checkFormat(format); err != nil {
				return err
			}
			if err := errors.Join(checkRate(rate), checkMaxFuture(maxFuture)); err != nil {
				return &exitError{exitUsage, err}
			}
			if redrive {
				return g.resend(ctx, args[0], rate, asJSON)
			}
			d, err := g.deployment()
			if err != nil {
				return err
			}
			input, err := g.openInput(args[0])
			if err != nil {
				return err
			}
			defer input.Close()
			api, err := g.clients(ctx)
			if err != nil {
				return err
			}
			if topicARN == "" {
				if topicARN, err = provision.FindTopic(ctx, api.sns, d); err != nil {
					return err
				}
			}
			p, err := producer.New(api.sns, topicARN, producer.Config{Source: source, MaxFuture: maxFuture, Logger: newLogger(g.err)})
			if err != nil {
				return err
			}
			start := time.Now()
			pub := &publisher{producer: p, rate: rate, warn: g.err}
			publishErr := pub.run(ctx, input)
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), producer.MaxGiveUpAfter)
			defer cancel()
			closeErr := p.Close(closing)
			s := publishSummary{
				In: pub.in.Load(), Rejected: pub.rejected.Load(), Rejections: pub.rejections, Published: pub.published.Load(), Failed: pub.failed.Load(),
				Seconds: time.Since(start).Seconds(), Requests: p.Stats().Batches, BatchFill: p.Stats().BatchFill(),
			}
			if err := s.print(g, asJSON); err != nil {
				return err
			}
			switch {
			case s.Failed > 0:
				lost := fmt.Errorf("%d events were not confirmed, the last because of: %w", s.Failed, pub.failure())
				return &exitError{exitLost, errors.Join(lost, publishErr)}
			case closeErr != nil:
				return &exitError{exitLost, errors.Join(closeErr, publishErr)}
			case publishErr != nil:
				return publishErr
			case s.Rejected > 0:
				return &exitError{code: exitRejected}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&format, "format", "ndjson", "`FORMAT` of the input; there is ndjson, one event a line")
	flags.StringVar(&source, "source", "fanout/publish", "CloudEvents `SOURCE` of lines that name none")
	flags.StringVar(&topicARN, "topic-arn", "", "`ARN` of the topic (default: looked up by its name)")
	flags.Float64Var(&rate, "rate", 0, "publish `N` events per second (default: as fast as possible)")
	maxFutureFlag(cmd, &maxFuture)
	flags.BoolVar(&asJSON, "json", false, "print the summary as JSON")
	flags.BoolVar(&redrive, "redrive", false, "send dead letters that drop or export has written back to their queues")
	cmd.MarkFlagsMutuallyExclusive("redrive", "format")
	cmd.MarkFlagsMutuallyExclusive("redrive", "topic-arn")
	return cmd
}

// publishSummary is what publish prints at its end.
type publishSummary struct {
	In         int64       `json:"in"`
	Rejected   int64       `json:"rejected"`
	Rejections []rejection `json:"rejections,omitempty"`
	Published  int64       `json:"published"`
	Failed     int64       `json:"failed"`
	Seconds    float64     `json:"seconds"`
	Requests   int64       `json:"requests"`
	BatchFill  float64     `json:"batch_fill"`
}

func (s publishSummary) print(g *globals, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(g.out).Encode(s)
	}
	_, err := fmt.Fprintf(g.out, "in %d, rejected %d, published %d, failed %d, in %.1f s (%.0f events/s, %d requests, %.1f events each)\n",
		s.In, s.Rejected, s.Published, s.Failed, s.Seconds, float64(s.Published)/max(s.Seconds, 1e-9), s.Requests, s.BatchFill)
	return err
}
