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
	// Buffer is how many events may be in memory, accepted and not yet resolved, in all. Zero means DefaultBuffer. With a Spool it should
	// be above the number of devices that may be in trouble at once: the first event of each is in memory.
	Buffer int
	// BufferPerDevice is how many of them may be of one device. Zero means a tenth of Buffer, at least 1. With a Spool it means
	// nothing: see SpoolBytes.
	BufferPerDevice int
	// OnFailure says what becomes of the events that wait behind one that has failed for good. The zero value is Gapless.
	OnFailure FailurePolicy
	// MaxBatches bounds how many batches may be under way at once; how many there are follows from what is waiting, and from how
	// the topic answers. Zero means DefaultMaxBatches. The HTTP client should keep as many idle connections.
	MaxBatches int
	// MaxMessageBytes is the topic's MaximumMessageSize, counted in UTF-8 bytes of body and attributes. It bounds a batch
	// too. Zero means DefaultMaxMessageBytes.
	MaxMessageBytes int
	// RequestTimeout bounds one request to SNS; after it the outcome is unknown and the request is repeated.
	// Zero means DefaultRequestTimeout.
	RequestTimeout time.Duration
	// GiveUpAfter is how long after its first request an event is still sent again, at most MaxGiveUpAfter, whatever the trouble is: no
	// answer, throttling, credentials, this machine's clock, a permission, a KMS key, or a topic that is not there. Then it fails, with its
	// outcome unknown unless every attempt was answered with a refusal. Zero means DefaultGiveUpAfter.
	// With a Spool events are sent again without end, and GiveUpAfter means nothing.
	GiveUpAfter time.Duration
	// MaxPast and MaxFuture refuse an event whose time lies further back or ahead than that. Zero refuses none.
	MaxPast, MaxFuture time.Duration
	// Spool is a folder, made when it does not exist, that keeps accepted events until the topic has confirmed them. One Producer at a
	// time has it open. Empty keeps events in memory only.
	Spool string
	// SpoolBytes bounds the events in the Spool, with those that are done with and lie between; a device may fill a quarter of it. Beside them
	// are eight bytes on disk for each that is done with, and what is set aside, which nobody deletes. Zero means DefaultSpoolBytes.
	SpoolBytes int64
	// SpoolSync says when an event is forced to the disk. Zero, the default, does so before it is accepted, together with those that
	// came at the same time: it survives a loss of power, as far as the disk tells the truth. A positive value does so that
	// long after acceptance at most, a negative one leaves it to the operating system: then an accepted event survives the end
	// of the process, but the last ones before a loss of power or a crash of the system may be lost.
	SpoolSync time.Duration
	// Hooks let the program watch. See the package producer/telemetry for OpenTelemetry.
	Hooks Hooks
	// Logger hears of retries and failures. Nil logs nothing. Event bodies are never logged.
	Logger *slog.Logger
}

// FailurePolicy says what becomes of the events of a device that wait behind one that has failed for good.
type FailurePolicy int

const (
	// Gapless lets them fail too, with a [*BlockedError] that names it: no event goes out whose predecessor did not.
	Gapless FailurePolicy = iota
	// Skip lets them go out in their order, without it.
	Skip
)

// Defaults of Config.
const (
	DefaultSource         = "gateway"
	DefaultBuffer         = 10_000
	DefaultMaxBatches     = 64
	DefaultSpoolBytes     = 1 << 30
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
	cfg.SpoolBytes = cmp.Or(cfg.SpoolBytes, DefaultSpoolBytes)
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
	if least := int64(2 * deviceShare * cfg.MaxMessageBytes); cfg.SpoolBytes < least {
		faults = append(faults, fmt.Errorf("producer: config: SpoolBytes: got %d, want at least %d, eight of the largest messages", cfg.SpoolBytes, least))
	}
	if cfg.OnFailure != Gapless && cfg.OnFailure != Skip {
		faults = append(faults, fmt.Errorf("producer: config: OnFailure: got %d, want Gapless or Skip", cfg.OnFailure))
	}
	if cfg.MaxPast < 0 || cfg.MaxFuture < 0 {
		faults = append(faults, fmt.Errorf("producer: config: MaxPast, MaxFuture: got %v and %v, want no negative duration", cfg.MaxPast, cfg.MaxFuture))
	}
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
