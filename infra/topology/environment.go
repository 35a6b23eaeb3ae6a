package topology

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Environment is one copy of the whole fan-out, as environments.json declares it.
type Environment struct {
	// Name is part of every resource's name; see [Deployment.Scope]: 1 to 16 lower-case letters, digits or hyphens, beginning with a letter.
	// A name that ends in "-*" declares throw-away environments: for "feature-*", every name such as feature-x.
	Name string
	// Production says that nothing may be lost here: an account, a region and an alarm target must be named, stacks can't be
	// deleted by mistake, and topic and queues stay when their stacks go.
	Production bool
	// Account and Region say where the environment is deployed. Empty means the account and the region of whoever deploys.
	Account, Region string
	// OwnRoles says that it is deployed by the roles that the account set-up has made for it, and not by those of the CDK's bootstrap, which may do
	// everything in the account.
	OwnRoles bool
	// Encryption is how messages at rest are encrypted. Empty means SQSManaged.
	Encryption Encryption
	// WaitTime is how long one receive waits for a message (long polling), in whole seconds from 1 to 20. Zero means 20 s,
	// which costs least. A consumer that stops lets its last receive end by itself, so a shorter one stops sooner.
	WaitTime time.Duration
	// ArchiveDays is how many days the topic keeps every event, so that it can be replayed to a new subscription, up to 365.
	// Zero keeps none.
	ArchiveDays int
	// AlarmTarget is who is notified of alarms: a mail address or an https URL. Empty means nobody.
	AlarmTarget string
	// MaxSilence is how long no event at all may pass before that is an alarm, in whole minutes up to 24 h. Zero means that
	// silence is no alarm here.
	MaxSilence time.Duration
	// Compute says whether services, gateway and database run in AWS here. Empty means Declared, and NoCompute for throw-away environments.
	Compute ComputeMode
	// Tasks bounds how many tasks of every service on Fargate run here, instead of what the services declare. Zeros leave it to them. With Smallest each has one
	// all the same.
	Tasks Tasks
	// Network is where tasks and databases are.
	Network Network
	// Certificate is the ARN of the certificate in ACM, in the environment's region, that load balancers show. It is needed with a Gateway,
	// and with a service that has a Port.
	Certificate string
	// Gateway takes events from devices. Nil means that gateways run elsewhere.
	Gateway *Gateway
	// Database is made for the services whose Compute says Database.
	Database Database
	// Watch says whether there are alarms and dashboards. Empty means WatchAll, and WatchNothing for throw-away environments.
	Watch Watch
	// Lifetime is how long a throw-away environment is meant to stay after its last deployment, in whole days: its resources have a tag expires with that
	// day. Nothing deletes them by itself. Zero means 7 days; other environments have none.
	Lifetime time.Duration

	declared string // the name ending in "-*" that declares it as one of many
}

// ThrowAway tells whether the environment is one of many short-lived copies, whose resources are deleted with their stacks.
func (e Environment) ThrowAway() bool { return e.declared != "" || strings.HasSuffix(e.Name, anyName) }

// anyName ends the name of a declaration that stands for many environments.
const anyName = "-*"

// Watch says whether an environment has alarms and dashboards.
type Watch string

const (
	WatchAll     Watch = "all"
	WatchNothing Watch = "none"
)

// DefaultLifetime is that of throw-away environments.
const DefaultLifetime = 7 * 24 * time.Hour

// Encryption is how messages at rest are encrypted.
type Encryption string

const (
	// SQSManaged encrypts with keys that SQS owns. It costs nothing and needs no permission.
	SQSManaged Encryption = "sqs-managed"
	// CustomerKey encrypts with keys of the environment, whose use can be seen and revoked: one for the topic and one for each
	// service.
	CustomerKey Encryption = "customer-key"
)

// environmentsFileName is the name of the file in error messages.
const environmentsFileName = "environments.json"

// ParseEnvironments reads a list of environments as it stands in environments.json. It refuses keys that it does not know and
// values of the wrong form; what the values mean, [Topology.Validate] checks.
func ParseEnvironments(text []byte) ([]Environment, error) {
	var entries []json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, fmt.Errorf("topology: %s: line %d: %w", environmentsFileName, 1+bytes.Count(text[:syntax.Offset], []byte("\n")), err)
		}
		return nil, fmt.Errorf("topology: %s: want a JSON list of environments: %w", environmentsFileName, err)
	}
	var faults []error
	environments := make([]Environment, 0, len(entries))
	for i, entry := range entries {
		var declared struct {
			Name        string      `json:"name"`
			Production  bool        `json:"production"`
			Account     string      `json:"account"`
			Region      string      `json:"region"`
			OwnRoles    bool        `json:"own_roles"`
			Encryption  Encryption  `json:"encryption"`
			WaitTime    duration    `json:"wait_time"`
			ArchiveDays int         `json:"archive_days"`
			AlarmTarget string      `json:"alarm_target"`
			MaxSilence  duration    `json:"max_silence"`
			Compute     ComputeMode `json:"compute"`
			Tasks       Tasks       `json:"tasks"`
			Network     Network     `json:"network"`
			Certificate string      `json:"certificate"`
			Gateway     *Gateway    `json:"gateway"`
			Database    Database    `json:"database"`
			Watch       Watch       `json:"watch"`
			Lifetime    duration    `json:"lifetime"`
		}
		if texts := readObject(entry, reflect.ValueOf(&declared).Elem(), ""); len(texts) > 0 {
			var named struct {
				Name string `json:"name"`
			}
			_ = json.Unmarshal(entry, &named) // only for the message
			for _, text := range texts {
				faults = append(faults, fmt.Errorf("topology: %s: environment %q (entry %d): %s", environmentsFileName, named.Name, i+1, text))
			}
			continue
		}
		environments = append(environments, Environment{
			Name: declared.Name, Production: declared.Production, Account: declared.Account, Region: declared.Region, OwnRoles: declared.OwnRoles,
			Encryption: declared.Encryption, WaitTime: time.Duration(declared.WaitTime), ArchiveDays: declared.ArchiveDays,
			AlarmTarget: declared.AlarmTarget, MaxSilence: time.Duration(declared.MaxSilence), Compute: declared.Compute, Tasks: declared.Tasks,
			Network: declared.Network, Certificate: declared.Certificate, Gateway: declared.Gateway, Database: declared.Database, Watch: declared.Watch,
			Lifetime: time.Duration(declared.Lifetime),
		})
	}
	return environments, errors.Join(faults...)
}

// readObject reads a JSON object into a struct whose fields have tags, member by member, and returns what is wrong, each fault with the path of its
// member. A member that the struct has no field for is a fault.
func readObject(text json.RawMessage, into reflect.Value, path string) (faults []string) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return []string{fmt.Sprintf("%sgot %s, want an object, in braces", path, text)}
	}
	fields, keys := map[string]reflect.Value{}, make([]string, 0, into.NumField())
	for i := range into.NumField() {
		key := into.Type().Field(i).Tag.Get("json")
		fields[key], keys = into.Field(i), append(keys, key)
	}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		field, ok := fields[key]
		switch value, at := members[key], path+key+": "; {
		case !ok:
			faults = append(faults, fmt.Sprintf("%sunknown field %q; the keys are %s; see docs/formats.md", path, key, strings.Join(keys, ", ")))
		case string(value) == "null": // as if it were not there
		case field.Kind() == reflect.Struct:
			faults = append(faults, readObject(value, field, at)...)
		case field.Kind() == reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
			faults = append(faults, readObject(value, field.Elem(), at)...)
		default:
			err := json.Unmarshal(value, field.Addr().Interface())
			if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
				err = fmt.Errorf("got %s, want %s", value, jsonForms[field.Kind()])
			}
			if err != nil {
				faults = append(faults, at+err.Error())
			}
		}
	}
	return faults
}

// jsonForms are what values of fields look like in JSON.
var jsonForms = map[reflect.Kind]string{
	reflect.String: "text in quotes", reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.Float64: "a number", reflect.Slice: "a list of texts, in brackets",
}

// duration is a time.Duration that reads "15m" in JSON.
type duration time.Duration

func (d *duration) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("got %s, want a duration such as \"15m\"", text)
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("got %q, want a duration such as \"15m\"", s)
	}
	*d = duration(parsed)
	return nil
}

var (
	legalName    = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	legalAccount = regexp.MustCompile(`^[0-9]{12}$`)
	legalRegion  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	legalTarget  = regexp.MustCompile(`^([^@\s]+@[^@\s]+\.[^@\s]+|https://\S+)$`)
)

// maxEnvironmentName leaves room for the services' names in those of their queues.
const maxEnvironmentName = 16

// called gives the environment called name if e declares it: e itself, or one of the many that e stands for.
func (e Environment) called(name string) (_ Environment, ok bool, _ error) {
	stem, many := strings.CutSuffix(e.Name, "*")
	rest, fits := strings.CutPrefix(name, stem)
	switch {
	case !many:
		return e, e.Name == name, nil
	case !fits:
		return e, false, nil
	case !legalName.MatchString("x"+rest) || strings.Contains(rest, "-") || rest == "" || len(name) > maxEnvironmentName:
		// Without a hyphen, so that no name in one of these can be taken for a name in another.
		return e, false, fmt.Errorf("topology: environment %q: got %q after %q, want 1 to %d lower-case letters or digits",
			name, rest, stem, maxEnvironmentName-len(stem))
	}
	e.Name, e.declared = name, e.Name
	return e, true, nil
}

// faults lists what is wrong with one environment by itself.
func (e Environment) faults() []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	stem, many := strings.CutSuffix(e.Name, anyName)
	if !legalName.MatchString(stem) || len(e.Name) > maxEnvironmentName {
		fault("name: got %q, want 1 to %d lower-case letters, digits or hyphens, beginning with a letter; -* at the end stands for many", e.Name, maxEnvironmentName)
	}
	if many && e.Production {
		fault("production: got true for throw-away environments, want false")
	}
	if e.Account != "" && !legalAccount.MatchString(e.Account) {
		fault("account: got %q, want 12 digits", e.Account)
	}
	if e.Region != "" && !legalRegion.MatchString(e.Region) {
		fault("region: got %q, want one such as eu-central-1", e.Region)
	}
	switch e.withDefaults().Encryption {
	case SQSManaged, CustomerKey:
	default:
		fault("encryption: got %q, want %s or %s", e.Encryption, SQSManaged, CustomerKey)
	}
	if w := e.withDefaults().WaitTime; w < time.Second || w > 20*time.Second || w%time.Second != 0 {
		fault("wait time: got %v, want whole seconds from 1s to 20s", e.WaitTime)
	}
	if e.ArchiveDays < 0 || e.ArchiveDays > 365 {
		fault("archive days: got %d, want from 0 (no archive) to 365", e.ArchiveDays)
	}
	if many && e.ArchiveDays > 0 {
		fault("archive days: got %d for throw-away environments, want 0: a topic with an archive can't be deleted", e.ArchiveDays)
	}
	if e.AlarmTarget != "" && !legalTarget.MatchString(e.AlarmTarget) {
		fault("alarm target: got %q, want a mail address or an https URL", e.AlarmTarget)
	}
	if e.MaxSilence != 0 && !legalSilence(e.MaxSilence) {
		fault("max silence: got %v, want whole minutes up to 24h, or 0 for no alarm", e.MaxSilence)
	}
	full := e.withDefaults()
	switch full.Compute {
	case NoCompute, Smallest, Declared:
	default:
		fault("compute: got %q, want %s, %s or %s", e.Compute, NoCompute, Smallest, Declared)
	}
	if e.Tasks != (Tasks{}) && (e.Tasks.Min < 1 || e.Tasks.Max < e.Tasks.Min) {
		fault("tasks: got from %d to %d, want at least 1 and a maximum not below the minimum", e.Tasks.Min, e.Tasks.Max)
	}
	if cert := legalCert.FindStringSubmatch(e.Certificate); e.Certificate != "" && cert == nil {
		fault("certificate: got %q, want the ARN of one in ACM, such as arn:aws:acm:eu-central-1:111122223333:certificate/…", e.Certificate)
	} else if cert != nil && e.Region != "" && cert[2] != e.Region {
		fault("certificate: got one of region %s, want one of %s: a load balancer takes certificates of its own region", cert[2], e.Region)
	} else if cert != nil && e.Account != "" && cert[3] != e.Account {
		fault("certificate: got one of account %s, want one of %s: a load balancer takes certificates of its own account", cert[3], e.Account)
	}
	switch full.Watch {
	case WatchAll, WatchNothing:
	default:
		fault("watch: got %q, want %s or %s", e.Watch, WatchAll, WatchNothing)
	}
	if e.Production && full.Watch == WatchNothing {
		fault("watch: got %s in production, want %s: nobody would hear of dead letters", WatchNothing, WatchAll)
	}
	if e.Lifetime < 0 || e.Lifetime%(24*time.Hour) != 0 {
		fault("lifetime: got %v, want whole days, such as 168h", e.Lifetime)
	}
	if e.Lifetime != 0 && !e.ThrowAway() {
		fault("lifetime: got %v for an environment that stays; it is for throw-away ones, whose names end in %s", e.Lifetime, anyName)
	}
	faults = append(faults, e.Network.faults()...)
	for _, zone := range e.Network.AvailabilityZones {
		if !strings.HasPrefix(zone, e.Region) {
			fault("network: availability_zones: got %q, want one of %s: the network is in the environment's region", zone, e.Region)
		}
	}
	if g := e.Gateway; g != nil {
		faults = append(faults, g.faults(full)...)
	}
	return append(faults, e.Database.faults(full)...)
}

// legalSilence tells whether a CloudWatch alarm can watch that long.
func legalSilence(d time.Duration) bool {
	return d >= time.Minute && d <= 24*time.Hour && d%time.Minute == 0
}

// clash tells whether the resources of two environments could be taken for each other's, as those of test and test-2 could.
func clash(a, b Environment) bool {
	a.Name, b.Name = strings.TrimSuffix(a.Name, anyName)+"-", strings.TrimSuffix(b.Name, anyName)+"-"
	return strings.HasPrefix(a.Name, b.Name) || strings.HasPrefix(b.Name, a.Name)
}

func (e Environment) withDefaults() Environment {
	if e.WaitTime == 0 {
		e.WaitTime = DefaultWaitTime
	}
	if e.Encryption == "" {
		e.Encryption = SQSManaged
	}
	compute, watch := Declared, WatchAll
	if e.ThrowAway() {
		compute, watch = NoCompute, WatchNothing
		e.Lifetime = cmp.Or(e.Lifetime, DefaultLifetime)
	}
	e.Compute, e.Watch = cmp.Or(e.Compute, compute), cmp.Or(e.Watch, watch)
	e.Network = e.Network.withDefaults()
	if e.Gateway != nil {
		g := e.Gateway.withDefaults(e)
		e.Gateway = &g
	}
	e.Database = e.Database.withDefaults(e)
	return e
}
