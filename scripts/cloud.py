"""What scripts/deploy and scripts/destroy have in common: AWS by its command line, and what the CDK has synthesized."""
import concurrent.futures
import functools
import json
import os
import pathlib
import subprocess
import sys
import time

# What AWS says of something that is not there.
GONE = ("does not exist", "NonExistentQueue", "NotFound", "ResourceNotFoundException")


def stop(text, code=1):
    """Ends the process with a message."""
    print(f"{'destroy' if sys.argv[0].endswith('destroy') else 'deploy'}: {text}", file=sys.stderr)
    sys.exit(code)


def aws(*args, missing=()):
    """Runs one command of AWS and gives what it answers, or None where it fails with one of the codes in missing."""
    command = ["aws", *args, "--output", "json"]
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):  # version 1 of the command line overlooks it for some services
        command += ["--endpoint-url", endpoint]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout or "{}")
    if any(code in done.stderr for code in missing):
        return None
    stop(f"aws {' '.join(args[:2])}: {done.stderr.strip()}")


def each(function, items):
    """What a function gives for each of the items, several at a time, since most of it is waiting for AWS."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(function, items))


class Stack:
    """A stack as it is synthesized."""

    def __init__(self, folder, id, artifact):
        facts = artifact["properties"]
        self.id, self.name = id, facts.get("stackName", id)
        self.account, self.region = artifact["environment"].removeprefix("aws://").split("/")
        self.tags, self.depends = facts.get("tags", {}), artifact.get("dependencies", [])
        self.template = json.loads((folder / facts["templateFile"]).read_text())
        self.resources = self.template["Resources"]

    def of_type(self, type):
        return {id: r for id, r in self.resources.items() if r["Type"] == type}


class Assembly:
    """What the CDK has synthesized into a folder: the stacks, each after those that it depends on."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        artifacts = json.loads((self.folder / "manifest.json").read_text())["artifacts"]
        waiting = [Stack(self.folder, id, a) for id, a in artifacts.items() if a["type"] == "aws:cloudformation:stack"]
        ids = {s.id for s in waiting}
        self.stacks = []
        while waiting:
            done = {s.id for s in self.stacks}
            first = next(s for s in waiting if set(s.depends) & ids <= done)
            waiting.remove(first)
            self.stacks.append(first)

    @functools.cached_property
    def region(self):
        """The region that is declared, or that of whoever deploys."""
        region = self.stacks[0].region
        if region == "unknown-region":
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return region or stop("no region: declare one in environments.json, or set AWS_REGION")

    @functools.cached_property
    def account(self):
        """The account that is declared, which must be the one that the credentials are of."""
        caller = aws("sts", "get-caller-identity")["Account"]
        declared = self.stacks[0].account
        if declared not in ("unknown-account", caller):
            stop(f"the credentials are of account {caller}, and the environment is in account {declared}")
        return caller

    @functools.cached_property
    def partition(self):
        return aws("sts", "get-caller-identity")["Arn"].split(":")[1]

    @functools.cached_property
    def scope(self):
        """What every name begins with, but for its hyphen."""
        for s in self.stacks:
            for r in s.of_type("AWS::SSM::Parameter").values():
                name = r["Properties"]["Name"]
                if isinstance(name, str) and name.endswith("/topic-arn"):
                    return name.split("/")[2]
        stop(f"no stack in {self.folder} has a topic")

    @property
    def images(self):
        """The images that run, each as REPOSITORY:TAG or REPOSITORY@DIGEST."""
        found = set()
        for s in self.stacks:
            for text in joined(s.template):
                if ".dkr.ecr." in text:
                    found.add(text.split(".dkr.ecr.")[1].split("/", 1)[1])
        return sorted(found)


def joined(value):
    """Every text of a template that is put together of parts, without what is known at deployment only."""
    if isinstance(value, dict):
        if set(value) == {"Fn::Join"}:
            yield value["Fn::Join"][0].join(part for part in value["Fn::Join"][1] if isinstance(part, str))
        for part in value.values():
            yield from joined(part)
    elif isinstance(value, list):
        for part in value:
            yield from joined(part)


def values(value, key):
    """What stands under a key, anywhere in a template."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from values(part, key)


def deployed():
    """All stacks that are there, by name."""
    return {s["StackName"]: s for s in aws("cloudformation", "describe-stacks")["Stacks"]}


def wait_for(name, after=None):
    """Waits until a stack is at rest and gives it, or None once it is gone. What it was before the change is not taken for its end."""
    state = lambda s: (s["StackStatus"], s.get("LastUpdatedTime"))  # noqa: E731
    while True:
        answer = aws("cloudformation", "describe-stacks", "--stack-name", name, missing=("does not exist",))
        if answer is None or answer["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE":
            return None
        stack = answer["Stacks"][0]
        moving = stack["StackStatus"].endswith("_IN_PROGRESS") and stack["StackStatus"] != "REVIEW_IN_PROGRESS"
        if not moving and (after is None or state(stack) != state(after)):
            return stack
        time.sleep(3)


def why(name):
    """What went wrong in a stack, a line each."""
    events = aws("cloudformation", "describe-stack-events", "--stack-name", name)["StackEvents"]
    failed = [e for e in events if e["ResourceStatus"].endswith("_FAILED") and "cancelled" not in e.get("ResourceStatusReason", "")]
    return "\n".join(f"  {e['LogicalResourceId']}: {e.get('ResourceStatusReason', e['ResourceStatus'])}" for e in reversed(failed[:10]))
