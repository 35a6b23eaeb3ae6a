package topic

import (
	"errors"

	"github.com/device-fanout/fanout/infra/local/internal/filter"
)

// compile parses the filter policy. An empty policy is none.
func (c *settings) compile() error {
	if c.filterText == "" {
		c.filter = nil
		return nil
	}
	scope := filter.Attributes
	if c.filterScope == scopeBody {
		scope = filter.Body
	}
	policy, err := filter.Parse(c.filterText, scope)
	if refused, ok := errors.AsType[*filter.Error](err); ok {
		return errInvalid("%s: %s", attrFilter, refused.Reason)
	}
	if err == nil && policy.Empty() {
		c.filterText, policy = "", nil
	}
	c.filter = policy
	return err
}

// matches reports whether the subscription wants p.
func (c *settings) matches(p *publication) bool {
	switch {
	case c.filter == nil:
		return true
	case c.filterScope == scopeBody:
		body, ok := p.parsedBody()
		return ok && c.filter.MatchBody(body)
	default:
		return c.filter.MatchAttributes(p.attribute)
	}
}

// attribute returns type and value of a message attribute.
func (p *publication) attribute(name string) (kind, value string, ok bool) {
	for _, a := range p.content.Attributes {
		if a.Name == name {
			return a.Type, a.Value, true
		}
	}
	return "", "", false
}

// parsedBody parses the body once, however many subscriptions look at it.
func (p *publication) parsedBody() (filter.Message, bool) {
	if !p.parsed {
		p.body, p.isObject = filter.ParseBody(p.content.Body)
		p.parsed = true
	}
	return p.body, p.isObject
}
