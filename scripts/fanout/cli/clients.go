package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
)

// localEndpoint is where `fanout up` and `fanout local` listen by default.
const (
	localAddress  = "127.0.0.1:4566"
	localEndpoint = "http://" + localAddress
	localRegion   = "eu-central-1"
)

// clients are configured from the AWS environment.
type clients struct {
	sns *sns.Client
	sqs *sqs.Client

	config   aws.Config // with connections that a client of a consumer may tune
	endpoint string     // overrides that of config
	asked    string     // the endpoint that is asked, by a flag or the environment; empty for that of AWS
}

// queues is SQS for a consumer, whose long polls have connections of their own.
func (c clients) queues(cfg consumers.Config) *consumers.Client {
	return consumers.NewClient(c.config, cfg, func(o *sqs.Options) {
		o.BaseEndpoint = cmp.Or(ptr(c.endpoint), o.BaseEndpoint)
		o.HTTPClient = fromMemory{o.HTTPClient}
	})
}

// secrets is AWS Secrets Manager. An endpoint that a flag names is not asked where AWS_ENDPOINT_URL_SECRETS_MANAGER names another.
func (c clients) secrets() *secretsmanager.Client {
	return secretsmanager.NewFromConfig(c.config, func(o *secretsmanager.Options) {
		if os.Getenv("AWS_ENDPOINT_URL_SECRETS_MANAGER") == "" {
			o.BaseEndpoint = cmp.Or(ptr(c.endpoint), o.BaseEndpoint)
		}
	})
}

// clients makes SNS and SQS clients by the standard AWS configuration. An endpoint on this machine needs no account: where
// no credentials or region are configured, it gets made-up ones.
func (g *globals) clients(ctx context.Context) (clients, error) {
	chosen := g.endpoint // by a flag, which overrides the environment
	if g.local {
		chosen = localEndpoint
	}
	endpoint := cmp.Or(chosen, os.Getenv("AWS_ENDPOINT_URL"))
	// Long polls hold their connections; the SDK keeps ten by default, and more pollers than that would open new ones all the time.
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 64 })
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(client)}
	here := false
	if endpoint != "" {
		var host string
		var err error
		if host, here, err = hostOf(endpoint); err != nil {
			return clients{}, &exitError{exitUsage, err}
		}
		if here {
			if err := somebodyListens(ctx, host); err != nil {
				return clients{}, fmt.Errorf("endpoint %s: %w", endpoint, err)
			}
		}
		if here && os.Getenv("AWS_ACCESS_KEY_ID") == "" && os.Getenv("AWS_PROFILE") == "" {
			options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("local", "local", "")))
		}
		if here && os.Getenv("AWS_REGION") == "" && os.Getenv("AWS_DEFAULT_REGION") == "" {
			options = append(options, config.WithRegion(localRegion))
		}
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return clients{}, fmt.Errorf("AWS configuration: %w", err)
	}
	const hint = "set AWS_PROFILE and AWS_REGION, or add --local for the local environment"
	if cfg.Region == "" {
		return clients{}, &hinted{errors.New("no AWS region is configured"), hint}
	}
	if !here {
		// Without this check a missing login shows only after a minute of attempts to reach an instance's metadata.
		check, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := cfg.Credentials.Retrieve(check); err != nil {
			return clients{}, &hinted{fmt.Errorf("no AWS credentials: %w", err), hint}
		}
	}
	made := clients{config: cfg.Copy(), endpoint: chosen, asked: endpoint}
	cfg.HTTPClient = fromMemory{cfg.HTTPClient}
	made.sns = sns.NewFromConfig(cfg, func(o *sns.Options) { o.BaseEndpoint = cmp.Or(ptr(chosen), o.BaseEndpoint) })
	made.sqs = sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.BaseEndpoint = cmp.Or(ptr(chosen), o.BaseEndpoint) })
	return made, nil
}

// ptr is nil for an empty string.
func ptr(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// hostOf gives the host and port of an endpoint, and tells whether that is a loopback address.
func hostOf(endpoint string) (host string, here bool, err error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", false, fmt.Errorf("endpoint: got %q, want a URL such as %s", endpoint, localEndpoint)
	}
	ip := net.ParseIP(u.Hostname())
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return net.JoinHostPort(u.Hostname(), port), u.Hostname() == "localhost" || ip != nil && ip.IsLoopback(), nil
}

// somebodyListens finds out at once what the SDK would only say after several attempts.
func somebodyListens(ctx context.Context, host string) error {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	return conn.Close()
}
