package topology

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/schemas/generate"
)

// object is a JSON object.
type object = map[string]any

// ref refers to another part of the document.
func ref(format string, args ...any) object { return object{"$ref": fmt.Sprintf("#/"+format, args...)} }

const (
	asyncAPIVersion = "3.0.0"
	// anyEnvironment stands for the name of an environment in the addresses of the document.
	anyEnvironment = "{environment}"
	topicChannel   = "topic"
	mediaType      = "application/cloudevents+json"
)

// AsyncAPI writes an AsyncAPI 3 document of the topic, the queues and the messages, for all environments.
func (t Topology) AsyncAPI(w io.Writer) error {
	if err := t.Validate(); err != nil {
		return err
	}
	d := Deployment{Topology: t.name(), Prefix: t.Prefix, Environment: Environment{Name: anyEnvironment}}
	for _, s := range t.Services {
		d.Services = append(d.Services, s.withDefaults())
	}
	messages, data := object{}, object{}
	for _, kind := range events.Types() {
		message, payload, err := asyncMessage(kind)
		if err != nil {
			return err
		}
		messages[kind.Name], data[kind.Name] = message, payload
	}
	channels := object{topicChannel: t.asyncTopic(d)}
	operations := object{"publish": object{
		"action": "send", "channel": ref("channels/%s", topicChannel),
		"summary": "A gateway publishes what its devices say. The message group is the device, the deduplication ID follows from the event's identity: source, subject and id.",
	}}
	for _, s := range d.Services {
		channels[s.Name] = t.asyncQueue(d, s)
		operations["handle-"+s.Name] = object{
			"action": "receive", "channel": ref("channels/%s", s.Name), "summary": fmt.Sprintf("The service %s: %s.", s.Name, s.About),
		}
	}
	document := object{
		"asyncapi": asyncAPIVersion,
		"info": object{
			"title": t.title(), "version": "1.0.0",
			"description": "Device events, published once to an SNS FIFO topic and delivered raw to the SQS queue of every service that wants them, " +
				"in order per device. Every message is a CloudEvents 1.0 JSON event.",
		},
		"defaultContentType": mediaType,
		"servers": object{
			"sns": asyncServer("sns"),
			"sqs": asyncServer("sqs"),
		},
		"channels": channels, "operations": operations,
		"components": object{"messages": messages, "schemas": data},
	}
	if l := t.License; l.Name != "" {
		license := object{"name": l.Name}
		if l.URL != "" {
			license["url"] = l.URL
		}
		document["info"].(object)["license"] = license
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(document); err != nil {
		return fmt.Errorf("topology: AsyncAPI: %w", err)
	}
	_, err := text.WriteTo(w)
	return err
}

// title is the topology's title, or one that is made of its name.
func (t Topology) title() string {
	switch {
	case t.Title != "":
		return t.Title
	case t.name() == DefaultName:
		return "Device events"
	default:
		return "Device events of " + t.name()
	}
}

func asyncServer(service string) object {
	return object{
		"host": service + ".{region}.amazonaws.com", "protocol": service,
		"variables": object{"region": object{"description": "the AWS region of the environment"}},
	}
}

// asyncEnvironment is the parameter in the addresses.
func (t Topology) asyncEnvironment() object {
	var names []string
	for _, e := range t.Environments {
		if !e.ThrowAway() {
			names = append(names, e.Name)
		}
	}
	return object{"environment": object{"description": "name of the environment", "examples": names}}
}

func (t Topology) asyncTopic(d Deployment) object {
	messages := object{}
	for _, kind := range events.Types() {
		messages[kind.Name] = ref("components/messages/%s", kind.Name)
	}
	return object{
		"address": d.TopicName(), "title": "The topic of all device events", "parameters": t.asyncEnvironment(),
		"servers": []object{ref("servers/sns")}, "messages": messages,
		"bindings": object{"sns": object{
			"name": d.TopicName(), "ordering": object{"type": "FIFO", "contentBasedDeduplication": false}, "bindingVersion": "0.1.0",
		}},
	}
}

func (t Topology) asyncQueue(d Deployment, s Service) object {
	messages := object{}
	for _, kind := range events.Types() {
		if s.Wants(kind.Name) {
			messages[kind.Name] = ref("components/messages/%s", kind.Name)
		}
	}
	queue := object{
		"name": d.QueueName(s.Name), "fifoQueue": !s.Standard,
		"visibilityTimeout": s.VisibilityTimeout().Seconds(), "messageRetentionPeriod": s.Retention.Seconds(),
		"redrivePolicy": object{"deadLetterQueue": object{"name": d.DLQName(s.Name)}, "maxReceiveCount": s.MaxReceiveCount},
	}
	if !s.Standard {
		queue["deduplicationScope"], queue["fifoThroughputLimit"] = "messageGroup", "perMessageGroupId"
	}
	return object{
		"address": d.QueueName(s.Name), "title": "The queue of " + s.Name, "description": "The service " + s.About + ".",
		"parameters": t.asyncEnvironment(), "servers": []object{ref("servers/sqs")}, "messages": messages,
		"bindings": object{"sqs": object{
			"queue": queue,
			"deadLetterQueue": object{
				"name": d.DLQName(s.Name), "fifoQueue": !s.Standard, "messageRetentionPeriod": DLQRetention.Seconds(),
			},
			"bindingVersion": "0.2.0",
		}},
	}
}

// asyncMessage is the message of an event type, and the schema of its payload.
func asyncMessage(kind events.Type) (message, data object, _ error) {
	text, err := generate.Schema(kind)
	if err != nil {
		return nil, nil, fmt.Errorf("topology: AsyncAPI: %w", err)
	}
	if err := json.Unmarshal(text, &data); err != nil {
		return nil, nil, fmt.Errorf("topology: AsyncAPI: schema of %s: %w", kind.Name, err)
	}
	delete(data, "$schema") // the document has a dialect of its own, which has all of their keywords
	delete(data, "$id")
	example, err := events.Encode(events.Event{
		ID: "01890a5d-ac96-774b-bcce-b302099a8057", Source: "gateway/hall", DeviceID: "hall/device-7", Sequence: "01769860800000000000",
		Time: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Data: kind.Sample,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("topology: AsyncAPI: sample of %s: %w", kind.Name, err)
	}
	str := func(about string) object { return object{"type": "string", "description": about} }
	message = object{
		"name": kind.Name, "title": kind.Name, "summary": kind.Summary, "contentType": mediaType,
		"headers": object{
			"type": "object", "required": []string{"type", "source"},
			"properties": object{
				"type":        object{"const": kind.Name},
				"source":      str("the gateway, as in the event"),
				"traceparent": str("W3C trace context"),
				"tracestate":  str("W3C trace context"),
			},
		},
		"payload": object{
			"type":     "object",
			"required": []string{"specversion", "id", "source", "type", "subject", "time", "sequence", "data"},
			"properties": object{
				"specversion":     object{"const": "1.0"},
				"id":              str("unique within source and subject for ever"),
				"source":          object{"type": "string", "format": "uri-reference", "description": "the gateway"},
				"type":            object{"const": kind.Name},
				"subject":         str("the device; the message group"),
				"time":            object{"type": "string", "format": "date-time", "description": "when it happened at the device"},
				"dataschema":      object{"const": kind.SchemaURI},
				"datacontenttype": object{"const": "application/json"},
				"sequence":        str("sorts by order of acceptance within a device"),
				"data":            ref("components/schemas/%s", kind.Name),
			},
		},
		"examples": []object{{"name": "sample", "payload": json.RawMessage(example)}},
	}
	return message, data, nil
}
