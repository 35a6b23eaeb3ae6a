package doctor

import (
	"encoding/json"
	"strings"

	"github.com/device-fanout/fanout/infra/topology"
)

// Words are what the commands in findings need to know beside the deployment.
type Words struct {
	Program string // what the command line is called
	// Endpoint is the URL that was asked, empty for that of AWS.
	Endpoint string
}

// commands writes commands.
type commands struct {
	Words
	environment, region string
}

// aws is a command of the AWS command line.
func (c commands) aws(args ...string) string {
	args = append([]string{"aws"}, args...)
	args = append(args, "--region", c.region)
	if c.Endpoint != "" {
		args = append(args, "--endpoint-url", c.Endpoint)
	}
	return shell(args...)
}

// program is a command of ours.
func (c commands) program(args ...string) string {
	args = append([]string{c.Program}, args...)
	args = append(args, "--env", c.environment)
	if c.Endpoint != "" {
		args = append(args, "--endpoint", c.Endpoint)
	}
	return shell(args...)
}

// cdk deploys stacks.
func (c commands) cdk(stacks ...string) string {
	return shell(append(append([]string{"npx", "cdk", "deploy"}, stacks...), "-c", "env="+c.environment)...)
}

func (c commands) setQueue(url string, attributes map[string]string) string {
	return c.aws("sqs", "set-queue-attributes", "--queue-url", url, "--attributes", object(attributes))
}

// shell quotes words for a shell.
func shell(args ...string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		if quoted[i] = arg; arg == "" || strings.Trim(arg, safe) != "" || strings.ContainsAny(arg, unsafe) {
			quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

const (
	safe   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@%+"
	unsafe = " \t\n'\"\\$`&;|<>()*?[]{}!#~"
)

// object is a map as JSON; its keys are sorted.
func object(m any) string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(text)
}

// tags are those of what the stacks make for a service, as the AWS command line takes them.
func tags(d topology.Deployment, service string) string {
	t := map[string]string{"app": "fanout", tagEnvironment: d.Environment.Name}
	if service != "" {
		t[tagService] = service
	}
	return object(t)
}
