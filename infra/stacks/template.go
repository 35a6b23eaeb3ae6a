package stacks

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/cxapi"
)

// resource is one resource of a synthesized template, with its references replaced by what they will be in AWS, as far as names
// tell.
type resource struct {
	stack, id       string
	region, account string
	kind            string // such as AWS::SQS::Queue
	path            string // of its construct
	properties      map[string]any
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

// list is a list at a path; a single value is a list of one, as in policies.
func (r resource) list(keys ...string) []any {
	switch value := r.at(keys...).(type) {
	case nil:
		return nil
	case []any:
		return value
	default:
		return []any{value}
	}
}

// name is what people call the resource.
func (r resource) name() string {
	return cmp.Or(r.text("QueueName"), r.text("TopicName"), r.stack+"/"+r.id)
}

// arn is the ARN of a queue, a topic or a key. One without a name of its own gets another in AWS; this one is as unique.
func (r resource) arn() string {
	switch r.kind {
	case "AWS::SQS::Queue":
		return arnText("sqs", r.region, r.account, cmp.Or(r.text("QueueName"), r.stack+"."+r.id))
	case "AWS::SNS::Topic":
		return arnText("sns", r.region, r.account, cmp.Or(r.text("TopicName"), r.stack+"."+r.id))
	case "AWS::KMS::Key":
		return arnText("kms", r.region, r.account, "key/"+r.stack+"."+r.id)
	}
	return ""
}

func arnText(service, region, account, name string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, region, account, name)
}

// place is the region and the account of a target; examples stand for those of whoever deploys.
func (t target) place() (region, account string) {
	return cmp.Or(t.Environment.Region, "eu-central-1"), cmp.Or(t.Environment.Account, "123456789012")
}

// rawTemplate is a template as CloudFormation gets it.
type rawTemplate struct {
	Resources map[string]struct {
		Type           string
		Properties     map[string]any
		DeletionPolicy string
		DependsOn      any
		Metadata       map[string]any
	}
	Parameters map[string]any
	Outputs    map[string]struct {
		Value  any
		Export struct{ Name any }
	}

	region, account string // empty if they are those of whoever deploys
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
		if e := stack.Environment(); e != nil {
			parsed.region, parsed.account = known(e.Region), known(e.Account)
		}
		templates[*stack.StackName()] = parsed
	}
	return templates, nil
}

// known is the region or the account of a stack, empty where the CDK says that it is unknown.
func known(place *string) string {
	if place == nil || strings.HasPrefix(*place, "unknown-") {
		return ""
	}
	return *place
}

// resolve lists the resources of all templates, in a fixed order.
func resolve(t target, templates map[string]rawTemplate) []resource {
	var all []resource
	resolvers := map[string]resolver{}
	exports := map[string]any{}
	region, account := t.place()
	for _, stack := range sortedKeys(templates) {
		in := resolver{
			template: templates[stack], stack: stack, stacks: resolvers, exports: exports,
			region: cmp.Or(templates[stack].region, region), account: cmp.Or(templates[stack].account, account),
		}
		resolvers[stack] = in
		for _, output := range in.template.Outputs {
			if name, ok := in.value(output.Export.Name).(string); ok {
				exports[name] = in.value(output.Value)
			}
		}
	}
	for _, stack := range sortedKeys(resolvers) {
		in := resolvers[stack]
		for _, id := range sortedKeys(in.template.Resources) {
			r := in.template.Resources[id]
			path, _ := r.Metadata["aws:cdk:path"].(string)
			properties, _ := in.value(r.Properties).(map[string]any)
			all = append(all, resource{
				stack: stack, id: id, region: in.region, account: in.account, kind: r.Type, path: path, properties: properties,
			})
		}
	}
	return all
}

// resolver replaces CloudFormation's functions in one template, as far as names tell; what it does not know it leaves as it is.
type resolver struct {
	template               rawTemplate
	stack, region, account string
	stacks                 map[string]resolver // of all templates, by stack
	exports                map[string]any      // values, by name
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
			if parts, ok := v["Fn::GetAtt"].([]any); ok && len(parts) == 2 {
				return in.attribute(fmt.Sprint(parts[0]), fmt.Sprint(parts[1]))
			}
			if join, ok := v["Fn::Join"].([]any); ok && len(join) == 2 {
				if list, ok := join[1].([]any); ok {
					var words []string
					for _, word := range list {
						words = append(words, fmt.Sprint(in.value(word)))
					}
					return strings.Join(words, fmt.Sprint(join[0]))
				}
			}
			if text, ok := v["Fn::Sub"].(string); ok {
				return in.substitute(text, nil)
			}
			if list, ok := v["Fn::Sub"].([]any); ok && len(list) == 2 {
				variables, _ := list[1].(map[string]any)
				return in.substitute(fmt.Sprint(list[0]), variables)
			}
			if name, ok := v["Fn::ImportValue"]; ok {
				if value, ok := in.exports[fmt.Sprint(in.value(name))]; ok {
					return value
				}
			}
			if from, ok := v["Fn::GetStackOutput"].(map[string]any); ok {
				other := in.stacks[fmt.Sprint(in.value(from["StackName"]))]
				if output, ok := other.template.Outputs[fmt.Sprint(from["OutputName"])]; ok {
					return other.value(output.Value)
				}
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
		name := in.attribute(id, "Arn")
		return fmt.Sprintf("https://sqs.%s.amazonaws.com/%s/%s", in.region, in.account, name[strings.LastIndex(name, ":")+1:])
	}
	return in.attribute(id, "Arn")
}

// variable is a placeholder in the text of Fn::Sub: ${Id}, ${Id.Attribute}, ${AWS::Region} or ${Variable}.
var variable = regexp.MustCompile(`\$\{[^!}][^}]*\}`)

func (in resolver) substitute(text string, variables map[string]any) string {
	return variable.ReplaceAllStringFunc(text, func(match string) string {
		name := strings.Trim(match, "${}")
		if value, ok := variables[name]; ok {
			return fmt.Sprint(in.value(value))
		}
		if id, attribute, ok := strings.Cut(name, "."); ok {
			return in.attribute(id, attribute)
		}
		return in.ref(name)
	})
}

// attribute is what Fn::GetAtt gives. The ARNs of topics and queues follow from their names; others stand for themselves.
func (in resolver) attribute(id, name string) string {
	if r := in.template.Resources[id]; name == "Arn" || name == "TopicArn" {
		named := resource{stack: in.stack, id: id, region: in.region, account: in.account, kind: r.Type, properties: map[string]any{
			"QueueName": in.value(r.Properties["QueueName"]), "TopicName": in.value(r.Properties["TopicName"]),
		}}
		if arn := named.arn(); arn != "" {
			return arn
		}
	}
	return fmt.Sprintf("%s.%s.%s", in.stack, id, name)
}
