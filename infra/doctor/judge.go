package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

// Judge compares what was seen with the declaration.
func Judge(d topology.Deployment, o Observed, w Words) Report {
	j := &judge{
		d: d, o: o, do: commands{Words: w, environment: d.Environment.Name, region: o.Region},
		report: Report{
			Environment: d.Environment.Name, Account: o.Account, Region: o.Region, Caller: o.Caller,
			Findings: []Finding{}, Unseen: append([]Unseen{}, o.Unseen...),
		},
	}
	if faults := misplaced(d, o); len(faults) > 0 {
		j.report.Findings = append(j.report.Findings, faults...)
		j.report.Unseen = append(j.report.Unseen, Unseen{Part: "environment", Reason: "it is somewhere else"})
		return j.report.finish()
	}
	j.place = placeOf(o)
	j.services = declaredServices(d, j.place)
	j.whole()
	return j.report.finish()
}

// placeOf is where the environment is: as the topic's ARN says, a queue's, or whoever asked.
func placeOf(o Observed) provision.Place {
	if o.Topic != nil {
		return provision.PlaceOf(o.Topic.ARN)
	}
	for _, q := range o.Queues {
		if arn := q.Attributes["QueueArn"]; arn != "" {
			return provision.PlaceOf(arn)
		}
	}
	place := provision.PlaceOf(o.Caller)
	return provision.Place{Partition: cmp.Or(place.Partition, "aws"), Region: o.Region, Account: o.Account}
}

// judge is one judgement.
type judge struct {
	d        topology.Deployment
	o        Observed
	do       commands
	place    provision.Place
	services []provision.Service
	report   Report
}

func (j *judge) add(f Finding) { j.report.Findings = append(j.report.Findings, f) }

func (j *judge) whole() {
	if j.o.Bare {
		j.add(Finding{
			Severity: Note, Code: "endpoint_bare", Resource: "endpoint",
			Text: "it has SNS and SQS alone: credentials, rights, stacks, encryption, TLS and the age of messages are not looked at",
		})
	}
	j.rights()
	missing := map[string]bool{} // services of which nothing is there
	for _, s := range j.services {
		missing[s.Name] = j.absent(s)
	}
	known := func(q Queue) bool { return j.declaredQueue(q.Name) }
	j.report.Deployed = j.o.Topic != nil || slices.ContainsFunc(declaredStacks(j.d), j.o.filled) ||
		slices.ContainsFunc(slices.Collect(maps.Values(j.o.Queues)), known)
	nothing := !j.report.Deployed && j.o.TopicsSeen && j.o.QueuesSeen && (j.o.StacksSeen || j.o.Bare)
	if nothing {
		j.add(Finding{
			Severity: Error, Code: "not_deployed", Resource: j.d.Environment.Name, Text: "nothing of this environment is there",
			Advice: "deploy it, or check --env, AWS_REGION and AWS_PROFILE", Commands: j.deployAll(),
		})
	} else {
		j.topic()
		for i, s := range j.services {
			if missing[s.Name] {
				j.add(Finding{
					Severity: Error, Code: "service_missing", Service: s.Name, Resource: s.Queue.Name,
					Text:   "the service " + s.Name + " is declared but not deployed: it has no queue, and misses every event meanwhile",
					Advice: "deploy it", Commands: j.deploy(j.d.ServiceStack(s.Name)),
				})
				continue
			}
			j.service(j.d.Services[i], s)
		}
		j.stacks(missing)
	}
	j.unknown()
}

// absent tells whether nothing of a service is there.
func (j *judge) absent(s provision.Service) bool {
	if !j.o.QueuesSeen {
		return false
	}
	for _, q := range []provision.Queue{s.Queue, s.DLQ, s.DeliveryDLQ} {
		if _, ok := j.o.Queues[q.Name]; ok {
			return false
		}
	}
	return !j.o.filled(j.d.ServiceStack(s.Name))
}

// deploy is how stacks are deployed; a local environment is only started.
func (j *judge) deploy(stacks ...string) []string {
	if j.o.Bare {
		return nil
	}
	command := j.do.cdk(stacks...)
	if j.d.Environment.Gateway != nil || slices.ContainsFunc(j.d.Services, func(s topology.Service) bool { return s.Compute.Kind != "" }) {
		command += ` -c "image_tag=$(git rev-parse HEAD)"` // of what runs in the stacks
	}
	return []string{command}
}

func (j *judge) deployAll() []string { return j.deploy("--all") }

// misplaced says that the credentials or the region are not those of the environment.
func misplaced(d topology.Deployment, o Observed) (faults []Finding) {
	e := d.Environment
	if o.Account != "" && e.Account != "" && o.Account != e.Account {
		faults = append(faults, Finding{
			Severity: Error, Code: "wrong_account", Resource: e.Name, Is: o.Account, Want: e.Account,
			Text:   fmt.Sprintf("the credentials are of account %s (%s), the environment is in account %s", o.Account, o.Caller, e.Account),
			Advice: "choose the profile of that account: AWS_PROFILE",
		})
	}
	if !o.Bare && e.Region != "" && o.Region != e.Region {
		faults = append(faults, Finding{
			Severity: Error, Code: "wrong_region", Resource: e.Name, Is: o.Region, Want: e.Region,
			Text: fmt.Sprintf("the region is %s, the environment is in %s", o.Region, e.Region), Advice: "set it",
			Commands: []string{"export AWS_REGION=" + e.Region},
		})
	}
	return faults
}

// rights says what the caller may not do. It is no fault of the environment.
func (j *judge) rights() {
	if j.o.NotSimulated != "" {
		j.add(Finding{
			Severity: Note, Code: "rights_not_simulated", Resource: j.o.Caller,
			Text: "whether the caller may do what people on call do could not be simulated: " + j.o.NotSimulated,
		})
	}
	for _, w := range works(j.d, j.place) {
		var lacks []string
		for _, r := range j.o.Rights {
			if r.Work == w.name && !r.Allowed {
				lacks = append(lacks, r.Action)
			}
		}
		if len(lacks) == 0 {
			continue
		}
		f := Finding{
			Severity: Note, Code: "right_missing", Resource: j.o.Caller, Attribute: w.name, Want: strings.Join(lacks, " "),
			Text:   "the caller may not " + w.about + ": " + strings.Join(lacks, ", "),
			Advice: "attach the managed policy " + j.policy(w.policy) + " to the caller's role, or take a role that has it",
		}
		if role := roleName(j.o.Caller); role != "" {
			f.Commands = []string{j.do.aws("iam", "attach-role-policy", "--role-name", role, "--policy-arn",
				"arn:"+j.place.Partition+":iam::"+j.place.Account+":policy/"+j.policy(w.policy))}
		}
		j.add(f)
	}
}

// policy is the name of one of the environment's managed policies, which are global in the account.
func (j *judge) policy(name string) string { return j.d.Scope() + "-" + name + "-" + j.place.Region }
