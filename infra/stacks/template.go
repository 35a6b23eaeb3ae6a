package stacks

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/cxapi"
)

// resource is one resource of a synthesized template, with its references replaced by what they will be in AWS, as far as names
// tell.
type resource struct {
	stack, id  string
	kind       string // such as AWS::SQS::Queue
	path       string // of its construct
	properties map[string]any
}

// at gives the value at a path of keys, or nil.
func (r resource) at(keys ...string) any {
	var value any = r.properties
	for _, key := range keys {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	return value
}

// text is the value at a path as text; numbers and truth values too.
func (r resource) text(keys ...string) string {
	if value := r.at(keys...); value != nil {
		return fmt.Sprint(value)
	}
	return ""
}

// seconds is a number at a path, or the default of the service.
func (r resource) seconds(key string, otherwise float64) float64 {
	if n, ok := r.at(key).(float64); ok {
		return n
	}
	return otherwise
}

// name is what people call the resource.
func (r resource) name() string {
	return cmp.Or(r.text("QueueName"), r.text("TopicName"), r.stack+"/"+r.id)
}

// place is the region and the account of a target, with examples for those of whoever deploys.
func (t target) place() (region, account string) {
	return cmp.Or(t.Environment.Region, "eu-central-1"), cmp.Or(t.Environment.Account, "123456789012")
}

// rawTemplate is a template as CloudFormation gets it.
type rawTemplate struct {
	Resources map[string]struct {
		Type           string
		Properties     map[string]any
		DeletionPolicy string
		Metadata       map[string]any
	}
}

// readTemplates reads the templates of an assembly, by stack.
func readTemplates(assembly cxapi.CloudAssembly) (map[string]rawTemplate, error) {
	templates := map[string]rawTemplate{}
	for _, stack := range *assembly.Stacks() {
		text, err := os.ReadFile(filepath.Clean(*stack.TemplateFullPath()))
		if err != nil {
			return nil, fmt.Errorf("stacks: read the template of %s: %w", *stack.StackName(), err)
		}
		var parsed rawTemplate
		if err := json.Unmarshal(text, &parsed); err != nil {
			return nil, fmt.Errorf("stacks: read the template of %s: %w", *stack.StackName(), err)
		}
		templates[*stack.StackName()] = parsed
	}
	return templates, nil
}

// resolve lists the resources of all templates, in a fixed order.
func resolve(t target, templates map[string]rawTemplate) []resource {
	var all []resource
	region, account := t.place()
	for _, stack := range slices.Sorted(maps.Keys(templates)) {
		in := resolver{template: templates[stack], stack: stack, region: region, account: account}
		for _, id := range slices.Sorted(maps.Keys(in.template.Resources)) {
			r := in.template.Resources[id]
			path, _ := r.Metadata["aws:cdk:path"].(string)
			properties, _ := in.value(r.Properties).(map[string]any)
			all = append(all, resource{stack: stack, id: id, kind: r.Type, path: path, properties: properties})
		}
	}
	return all
}

// resolver replaces CloudFormation's functions in one template.
type resolver struct {
	template               rawTemplate
	stack, region, account string
}

func (in resolver) value(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = in.value(v[i])
		}
		return out
	case map[string]any:
		if len(v) == 1 {
			if ref, ok := v["Ref"].(string); ok {
				return in.ref(ref)
			}
			if parts, ok := v["Fn::GetAtt"].([]any); ok {
				return in.attribute(fmt.Sprint(parts[0]), fmt.Sprint(parts[1]))
			}
			if join, ok := v["Fn::Join"].([]any); ok {
				var words []string
				for _, word := range join[1].([]any) {
					words = append(words, fmt.Sprint(in.value(word)))
				}
				return strings.Join(words, fmt.Sprint(join[0]))
			}
		}
		out := map[string]any{}
		for key, member := range v {
			out[key] = in.value(member)
		}
		return out
	}
	return v
}

// ref is what Ref gives: a topic's ARN, a queue's URL, or a setting of the deployment.
func (in resolver) ref(id string) string {
	switch id {
	case "AWS::Partition":
		return "aws"
	case "AWS::Region":
		return in.region
	case "AWS::AccountId":
		return in.account
	case "AWS::URLSuffix":
		return "amazonaws.com"
	case "AWS::StackName":
		return in.stack
	}
	if r := in.template.Resources[id]; r.Type == "AWS::SQS::Queue" {
		return fmt.Sprintf("https://sqs.%s.amazonaws.com/%s/%v", in.region, in.account, r.Properties["QueueName"])
	}
	return in.attribute(id, "Arn")
}

// attribute is what Fn::GetAtt gives. The ARNs of topics and queues follow from their names; others stand for themselves.
func (in resolver) attribute(id, name string) string {
	r := in.template.Resources[id]
	switch {
	case r.Type == "AWS::SQS::Queue" && name == "Arn":
		return fmt.Sprintf("arn:aws:sqs:%s:%s:%v", in.region, in.account, r.Properties["QueueName"])
	case r.Type == "AWS::SNS::Topic" && (name == "Arn" || name == "TopicArn"):
		return fmt.Sprintf("arn:aws:sns:%s:%s:%v", in.region, in.account, r.Properties["TopicName"])
	case r.Type == "AWS::KMS::Key" && name == "Arn":
		return fmt.Sprintf("arn:aws:kms:%s:%s:key/%s.%s", in.region, in.account, in.stack, id)
	}
	return fmt.Sprintf("%s.%s.%s", in.stack, id, name)
}
