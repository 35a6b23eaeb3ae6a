package doctor

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/device-fanout/fanout/infra/provision"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// rights simulates what the caller may do.
func (l *look) rights(ctx context.Context) {
	principal, why := l.principal(ctx)
	if why != "" {
		l.o.NotSimulated = why
		return
	}
	place := provision.PlaceOf(l.o.Caller)
	place.Region = l.o.Region
	text := func(name, value string) iamtypes.ContextEntry {
		return iamtypes.ContextEntry{ContextKeyName: &name, ContextKeyType: iamtypes.ContextKeyTypeEnumString, ContextKeyValues: []string{value}}
	}
	for _, w := range works(l.d, place) {
		for _, n := range w.needs {
			in := iam.SimulatePrincipalPolicyInput{
				PolicySourceArn: &principal, ActionNames: n.actions, ResourceArns: n.resources,
				ContextEntries: []iamtypes.ContextEntry{text("aws:ResourceTag/app", "fanout"), text("aws:ResourceTag/environment", l.d.Environment.Name)},
			}
			denied := map[string]bool{}
			for pages := iam.NewSimulatePrincipalPolicyPaginator(l.IAM, &in); pages.HasMorePages(); {
				page, err := pages.NextPage(ctx)
				if err != nil {
					l.o.Rights, l.o.NotSimulated = nil, notSimulated(err)
					return
				}
				for _, r := range page.EvaluationResults {
					if r.EvalDecision != iamtypes.PolicyEvaluationDecisionTypeAllowed {
						denied[aws.ToString(r.EvalActionName)] = true
					}
				}
			}
			for _, action := range n.actions {
				l.o.Rights = append(l.o.Rights, Right{Work: w.name, Action: action, Allowed: !denied[action]})
			}
		}
	}
}

func notSimulated(err error) string {
	if awsx.VerdictOf(err).Class == awsx.Denied {
		return "that takes iam:SimulatePrincipalPolicy"
	}
	return firstLine(err.Error())
}

// principal is the ARN of the user or the role that the caller is, or why there is none to simulate.
func (l *look) principal(ctx context.Context) (arn, why string) {
	place := provision.PlaceOf(l.o.Caller)
	switch role := roleOf(l.o.Caller); {
	case role != "":
		// The session's ARN leaves out the path that a role may have, as those of IAM Identity Center do.
		if out, err := l.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &role}); err == nil && out.Role != nil {
			return aws.ToString(out.Role.Arn), ""
		}
		return "arn:" + place.Partition + ":iam::" + place.Account + ":role/" + role, ""
	case strings.HasPrefix(l.o.Caller, "arn:"+place.Partition+":iam:") && strings.Contains(l.o.Caller, ":user/"):
		return l.o.Caller, ""
	case strings.HasSuffix(l.o.Caller, ":root"):
		return "", "the caller is the account's root user, who may do everything"
	}
	return "", "the caller is neither a user nor a role of IAM"
}
