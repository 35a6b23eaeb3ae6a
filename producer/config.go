package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// TopicAPI is what a Producer needs of Amazon SNS; [*sns.Client] has it.
type TopicAPI interface {
	PublishBatch(ctx context.Context, in *sns.PublishBatchInput, optFns ...func(*sns.Options)) (*sns.PublishBatchOutput, error)
}

// Config sets how a Producer works. The zero value is ready for production.
type Config struct {
	// Source is the CloudEvents source of events that name none: this gateway, as a URI reference.
	// Empty means DefaultSource.
	Source string
	// Buffer is how many events may be accepted and not yet resolved, in all. Zero means DefaultBuffer.
	Buffer int
	// BufferPerDevice is how many of them may be of one device. Zero means a tenth of Buffer, at least 1.
	BufferPerDevice int
	// MaxBatches is how many batches may be under way at once. Zero means DefaultMaxBatches.
	MaxBatches int
	// MaxMessageBytes is the topic's MaximumMessageSize, counted in UTF-8 bytes of body and attributes. It bounds a batch
	// too. Zero means DefaultMaxMessageBytes.
	MaxMessageBytes int
	// RequestTimeout bounds one request to SNS; after it the outcome is unknown and the request is repeated.
	// Zero means DefaultRequestTimeout.
	RequestTimeout time.Duration
	// GiveUpAfter is how long after its first request an event is still sent again, at most MaxGiveUpAfter. Then it fails,
	// with its outcome unknown unless the topic has refused every attempt. Zero means DefaultGiveUpAfter.
	GiveUpAfter time.Duration
	// Logger hears of retries and failures. Nil logs nothing. Event bodies are never logged.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultSource         = "gateway"
	DefaultBuffer         = 10_000
	DefaultMaxBatches     = 8
	DefaultRequestTimeout = 10 * time.Second
	DefaultGiveUpAfter    = 3 * time.Minute
)

func (cfg Config) withDefaults() Config {
	cfg.Source = cmp.Or(cfg.Source, DefaultSource)
	cfg.Buffer = cmp.Or(cfg.Buffer, DefaultBuffer)
	cfg.BufferPerDevice = cmp.Or(cfg.BufferPerDevice, max(1, cfg.Buffer/10))
	cfg.MaxBatches = cmp.Or(cfg.MaxBatches, DefaultMaxBatches)
	cfg.MaxMessageBytes = cmp.Or(cfg.MaxMessageBytes, DefaultMaxMessageBytes)
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, DefaultRequestTimeout)
	cfg.GiveUpAfter = cmp.Or(cfg.GiveUpAfter, DefaultGiveUpAfter)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

func (cfg Config) validate() error {
	var faults []error
	positive := func(name string, value int) {
		if value < 1 {
			faults = append(faults, fmt.Errorf("producer: config: %s: got %d, want at least 1", name, value))
		}
	}
	positive("Buffer", cfg.Buffer)
	positive("BufferPerDevice", cfg.BufferPerDevice)
	positive("MaxBatches", cfg.MaxBatches)
	if cfg.MaxMessageBytes < minMaxMessageBytes || cfg.MaxMessageBytes > maxMaxMessageBytes {
		faults = append(faults, fmt.Errorf("producer: config: MaxMessageBytes: got %d, want from %d to %d",
			cfg.MaxMessageBytes, minMaxMessageBytes, maxMaxMessageBytes))
	}
	if cfg.RequestTimeout < 0 || cfg.RequestTimeout > maxRequestTimeout {
		faults = append(faults, fmt.Errorf("producer: config: RequestTimeout: got %v, want from 1ns to %v",
			cfg.RequestTimeout, maxRequestTimeout))
	}
	if cfg.GiveUpAfter < 0 || cfg.GiveUpAfter > MaxGiveUpAfter {
		faults = append(faults, fmt.Errorf("producer: config: GiveUpAfter: got %v, want from 1ns to %v: "+
			"SNS forgets a deduplication ID five minutes after it first accepted it, and a later retry would be a second message",
			cfg.GiveUpAfter, MaxGiveUpAfter))
	}
	return errors.Join(faults...)
}
