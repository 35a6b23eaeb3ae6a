package queue

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
)

// Names of the queue attributes.
const (
	AttrContentBasedDeduplication = "ContentBasedDeduplication"
	AttrDeduplicationScope        = "DeduplicationScope"
	AttrDelaySeconds              = "DelaySeconds"
	AttrFifoQueue                 = "FifoQueue"
	AttrFifoThroughputLimit       = "FifoThroughputLimit"
	AttrKmsDataKeyReuse           = "KmsDataKeyReusePeriodSeconds"
	AttrKmsMasterKeyID            = "KmsMasterKeyId"
	AttrMaximumMessageSize        = "MaximumMessageSize"
	AttrMessageRetentionPeriod    = "MessageRetentionPeriod"
	AttrPolicy                    = "Policy"
	AttrReceiveWaitTime           = "ReceiveMessageWaitTimeSeconds"
	AttrRedriveAllowPolicy        = "RedriveAllowPolicy"
	AttrRedrivePolicy             = "RedrivePolicy"
	AttrSqsManagedSse             = "SqsManagedSseEnabled"
	AttrVisibilityTimeout         = "VisibilityTimeout"
)

// Limits of the service.
const (
	MaxMessageBytes     = 1 << 20 // of one message by default, and of a batch always
	MaxVisibilitySecond = 12 * 60 * 60
	MaxWaitSeconds      = 20
	MaxDelaySeconds     = 15 * 60
	MaxBatchEntries     = 10
	MaxInFlight         = 120_000
	maxPolicyBytes      = 8192
)

// config is the settable part of a queue. Durations are in seconds.
type config struct {
	delay, retention, wait, visibility int
	maxBytes                           int
	policy                             string
	redrive                            redrivePolicy
	redriveAllow                       redriveAllowPolicy
	kmsKey                             string
	kmsReuse                           int // 0 when never set
	managedSSE                         bool
	contentDedup                       bool
	dedupScope, throughput             string
}

func defaultConfig() config {
	return config{
		retention:  4 * 24 * 60 * 60,
		visibility: 30,
		maxBytes:   MaxMessageBytes,
		managedSSE: true,
		dedupScope: "queue",
		throughput: "perQueue",
	}
}

// setting is one attribute that can be set.
type setting struct {
	name     string
	fifoOnly bool
	set      func(*config, string) error
	get      func(*config) string // "" is left out of answers
}

// settings are all attributes that can be set, in the order in which differences are looked for.
var settings = []setting{
	integer(AttrDelaySeconds, 0, MaxDelaySeconds, func(c *config) *int { return &c.delay }),
	integer(AttrMaximumMessageSize, 1024, MaxMessageBytes, func(c *config) *int { return &c.maxBytes }),
	integer(AttrMessageRetentionPeriod, 60, 14*24*60*60, func(c *config) *int { return &c.retention }),
	integer(AttrReceiveWaitTime, 0, MaxWaitSeconds, func(c *config) *int { return &c.wait }),
	integer(AttrVisibilityTimeout, 0, MaxVisibilitySecond, func(c *config) *int { return &c.visibility }),
	{
		name: AttrPolicy,
		set: func(c *config, v string) error {
			var object map[string]json.RawMessage
			if v != "" && (len(v) > maxPolicyBytes || json.Unmarshal([]byte(v), &object) != nil || object == nil) {
				return errAttributeValue(AttrPolicy)
			}
			c.policy = v
			return nil
		},
		get: func(c *config) string { return c.policy },
	},
	{
		name: AttrRedrivePolicy,
		set:  func(c *config, v string) (err error) { c.redrive, err = parseRedrivePolicy(v); return err },
		get:  func(c *config) string { return c.redrive.String() },
	},
	{
		name: AttrRedriveAllowPolicy,
		set:  func(c *config, v string) (err error) { c.redriveAllow, err = parseRedriveAllowPolicy(v); return err },
		get:  func(c *config) string { return c.redriveAllow.text },
	},
	text(AttrKmsMasterKeyID, func(c *config) *string { return &c.kmsKey }),
	kmsReuse(),
	boolean(AttrSqsManagedSse, false, func(c *config) *bool { return &c.managedSSE }),
	boolean(AttrContentBasedDeduplication, true, func(c *config) *bool { return &c.contentDedup }),
	choice(AttrDeduplicationScope, func(c *config) *string { return &c.dedupScope }, "queue", "messageGroup"),
	choice(AttrFifoThroughputLimit, func(c *config) *string { return &c.throughput }, "perQueue", "perMessageGroupId"),
}

func integer(name string, low, high int, field func(*config) *int) setting {
	return setting{
		name: name,
		set: func(c *config, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < low || n > high {
				return errAttributeValue(name)
			}
			*field(c) = n
			return nil
		},
		get: func(c *config) string { return strconv.Itoa(*field(c)) },
	}
}

func kmsReuse() setting {
	s := integer(AttrKmsDataKeyReuse, 60, 86_400, func(c *config) *int { return &c.kmsReuse })
	s.get = func(c *config) string {
		switch {
		case c.kmsReuse != 0:
			return strconv.Itoa(c.kmsReuse)
		case c.kmsKey != "":
			return "300"
		default:
			return ""
		}
	}
	return s
}

func text(name string, field func(*config) *string) setting {
	return setting{
		name: name,
		set:  func(c *config, v string) error { *field(c) = v; return nil },
		get:  func(c *config) string { return *field(c) },
	}
}

func boolean(name string, fifoOnly bool, field func(*config) *bool) setting {
	return setting{
		name:     name,
		fifoOnly: fifoOnly,
		set: func(c *config, v string) (err error) {
			switch strings.ToLower(v) {
			case "true":
				*field(c) = true
			case "false":
				*field(c) = false
			default:
				err = errAttributeValue(name)
			}
			return err
		},
		get: func(c *config) string { return strconv.FormatBool(*field(c)) },
	}
}

func choice(name string, field func(*config) *string, allowed ...string) setting {
	return setting{
		name:     name,
		fifoOnly: true,
		set: func(c *config, v string) error {
			if slices.Contains(allowed, v) {
				*field(c) = v
				return nil
			}
			return errAttributeValue(name)
		},
		get: func(c *config) string { return *field(c) },
	}
}

func errAttributeValue(name string) error {
	return apierr.New(CodeInvalidAttributeValue, "Invalid value for the parameter %s.", name)
}

func errUnknownAttribute(name string) error {
	return apierr.New(CodeInvalidAttributeName, "Unknown Attribute %s.", name)
}

// errFIFOOnly is the refusal of a FIFO-only attribute on a standard queue.
func errFIFOOnly(name string) error {
	if name == AttrContentBasedDeduplication {
		return errUnknownAttribute(name)
	}
	return apierr.New(CodeInvalidAttributeName, "You can specify the %s only when FifoQueue is set to true.", name)
}

// apply sets the given attributes on c, which may be half changed when an error is returned.
// FifoQueue must have been dealt with before.
func (c *config) apply(given map[string]string, isFIFO bool) error {
	for name := range given {
		if name != AttrFifoQueue && lookupSetting(name) == nil {
			return errUnknownAttribute(name)
		}
	}
	for i := range settings {
		s := &settings[i]
		value, ok := given[s.name]
		if !ok {
			continue
		}
		if s.fifoOnly && !isFIFO {
			return errFIFOOnly(s.name)
		}
		if err := s.set(c, value); err != nil {
			return err
		}
	}
	if c.throughput == "perMessageGroupId" && c.dedupScope != "messageGroup" {
		return errAttributeValue(AttrFifoThroughputLimit)
	}
	return c.applyEncryption(given)
}

// applyEncryption keeps the two kinds of encryption apart: a KMS key turns SQS-managed encryption off.
func (c *config) applyEncryption(given map[string]string) error {
	if c.kmsKey == "" {
		return nil
	}
	if strings.EqualFold(given[AttrSqsManagedSse], "true") {
		return apierr.New(CodeInvalidAttributeName,
			"You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.")
	}
	c.managedSSE = false
	return nil
}

func lookupSetting(name string) *setting {
	for i := range settings {
		if settings[i].name == name {
			return &settings[i]
		}
	}
	return nil
}
