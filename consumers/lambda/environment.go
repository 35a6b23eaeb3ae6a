package lambda

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/device-fanout/fanout/consumers"
)

// The environment variables that the stack of a service sets for its function, beside FANOUT_ENV.
const (
	VariableService         = "FANOUT_SERVICE"
	VariableQueueURL        = "FANOUT_QUEUE_URL"
	VariableDLQURL          = "FANOUT_DLQ_URL"
	VariableHandlerTimeout  = "FANOUT_HANDLER_TIMEOUT"   // such as 10s
	VariableMaxReceiveCount = "FANOUT_MAX_RECEIVE_COUNT" // of the queue
)

// FromEnvironment reads what the topology declares of a service, as its stack puts it into the function's environment: the queues, and of
// the Config the handler timeout and the queue's maxReceiveCount. service is its name unless the environment has one. Without the last two
// the defaults of Config hold. getenv is os.Getenv. The error lists every fault.
func FromEnvironment(service string, getenv func(string) string) (consumers.Queue, Config, error) {
	queue := consumers.Queue{Service: service, URL: getenv(VariableQueueURL), DLQURL: getenv(VariableDLQURL)}
	if name := getenv(VariableService); name != "" {
		queue.Service = name
	}
	var cfg Config
	var faults []error
	fault := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("lambda: environment: %s: %s", name, fmt.Sprintf(format, args...)))
	}
	if queue.URL == "" {
		fault(VariableQueueURL, "it is empty")
	}
	if queue.DLQURL == "" {
		fault(VariableDLQURL, "it is empty")
	}
	if text := getenv(VariableHandlerTimeout); text != "" {
		timeout, err := time.ParseDuration(text)
		if err != nil || timeout <= 0 {
			fault(VariableHandlerTimeout, "got %q, want a duration such as 10s", text)
		}
		cfg.HandlerTimeout = timeout
	}
	if text := getenv(VariableMaxReceiveCount); text != "" {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1 {
			fault(VariableMaxReceiveCount, "got %q, want the queue's maxReceiveCount", text)
		}
		cfg.MaxReceiveCount = count
	}
	return queue, cfg, errors.Join(faults...)
}
