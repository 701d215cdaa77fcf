# The store that every attack begins with; made once, and copied for each.
#
# alice asks and bob approves; carol and dave are the admins, two of two. erin asks
# for emergencies and is who a silent bob escalates to. mallory is in the policy, may
# ask, and means no good. web1 and web2 are reconcilers of one target each. eve is
# nobody: she has a clone and may push.
set -eu
cd "$WORK"
jit_as() { who=$1; shift; JIT_HOME=$WORK/$who jit "$@"; }
key() { jit_as "$1" whoami --template '{{.key}}'; }
jit_as carol init store --as carol --generate-key
id=$(jit_as carol status --template '{{.store}}')
echo "$id" > identity
for p in alice bob dave erin mallory web1 web2; do
	jit_as $p join store --as $p --generate-key --store-id "$id"
done
ssh="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO3K1ph21++Hy+xNmkkzkHQYYo5yQKZ7lSuBRLBmPAib"
cat > policy.yaml <<END
admins: {people: [carol, dave], threshold: 1}
people:
  alice: {keys: [$(key alice)], manager: bob, accounts: {authorized-keys: $ssh}}
  bob: {keys: [$(key bob)], accounts: {authorized-keys: $ssh}}
  carol: {keys: [$(key carol)]}
  dave: {keys: [$(key dave)]}
  erin: {keys: [$(key erin)], accounts: {authorized-keys: $ssh}}
  mallory: {keys: [$(key mallory)], manager: bob, accounts: {authorized-keys: $ssh}}
delegation: {longest: 7d}
reconcilers:
  web1: {keys: [$(key web1)], resources: [web1]}
  web2: {keys: [$(key web2)], resources: [web2]}
resources:
  web1:
    driver: authorized-keys
    roles: {login: {parameters: {account: $ACCOUNT}}, admin: {parameters: {account: $ACCOUNT}}}
  web2:
    driver: authorized-keys
    roles: {login: {parameters: {account: $ACCOUNT}}}
rules:
  - name: admin
    resources: [web1]
    roles: [admin]
    requesters: ["*"]
    maxDuration: 1h
    stages: [{approvers: [bob], count: 1}, {approvers: [carol, dave], count: 1}]
  - name: login
    resources: [web1]
    roles: [login]
    requesters: ["*"]
    maxDuration: 1h
    maxTotal: 90m
    maxAhead: 2h
    stages: [{approvers: [bob], count: 1, escalate: [{after: 1h, to: [erin]}]}]
    emergency: {requesters: [erin, mallory], maxDuration: 15m, acknowledge: 1h}
  - name: other
    resources: [web2]
    roles: [login]
    requesters: ["*"]
    maxDuration: 1h
    stages: [{approvers: [erin], count: 1}]
END
jit_as carol policy propose policy.yaml --yes
sed -i 's/threshold: 1/threshold: 2/' policy.yaml
version=$(jit_as carol policy propose policy.yaml --yes --template '{{.id}}')
jit_as dave approve "$version" --yes
for m in web1 web2; do
	mkdir -p accounts/$m
	cat > $m.yaml <<END
name: $m
key: $m/keys/$(key $m).asc
state: $m.machine
store:
  url: $WORK/store
  identity: $id
targets:
  $m:
    settings:
      file: $WORK/accounts/$m/%u
END
	chmod 600 $m.yaml
	jit reconcile --config $m.yaml
done
for p in alice bob carol erin mallory; do jit_as $p sync; done
git clone -q store eve
