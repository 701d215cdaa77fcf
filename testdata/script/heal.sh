# What the scripts heal_*.txtar share.
#
#   heal.sh office     a store of alice's, the admin; bob asks; web1 is the
#                      reconciler. All three have verified the head. eve has a
#                      clone and may push; "old" is the head before bob's request.
#   heal.sh agree P... those people and the reconciler's machine have the same
#                      ledger at the store's head, stock git finds nothing wrong,
#                      and every clone comes along by an ordinary pull.
set -eu
cd "$WORK"
export GIT_AUTHOR_NAME=eve GIT_AUTHOR_EMAIL=eve@example.org GIT_COMMITTER_NAME=eve GIT_COMMITTER_EMAIL=eve@example.org
as() { who=$1; shift; JIT_HOME=$WORK/$who jit "$@"; }
key() { as "$1" whoami --template '{{.key}}'; }

case $1 in
office)
	as alice init store --as alice --generate-key
	id=$(as alice status --template '{{.store}}')
	for p in bob carol web1; do
		as $p join store --as $p --generate-key --store-id "$id"
	done
	cat > policy.yaml <<END
admins: {people: [alice], threshold: 1}
people:
  alice: {keys: [$(key alice)]}
  bob:
    keys: [$(key bob)]
    accounts: {authorized-keys: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO3K1ph21++Hy+xNmkkzkHQYYo5yQKZ7lSuBRLBmPAib}
  carol: {keys: [$(key carol)]}
reconcilers:
  web1: {keys: [$(key web1)], resources: [web1]}
resources:
  web1: {driver: authorized-keys, roles: {login: {parameters: {account: $ACCOUNT}}}}
rules:
  - {name: login, resources: [web1], roles: [login], requesters: ["*"], maxDuration: 1h, stages: [{approvers: [alice], count: 1}]}
END
	as alice policy propose policy.yaml --yes
	mkdir accounts
	cat > reconcile.yaml <<END
name: web1
key: web1/keys/$(key web1).asc
state: machine
store: {url: $WORK/store, identity: $id}
targets: {web1: {settings: {file: $WORK/accounts/%u}}}
END
	chmod 600 reconcile.yaml
	git clone -q store eve
	git -C store config receive.denyNonFastForwards false
	git -C store branch old main
	as bob request web1:login --for 20m -r 'look at the logs'
	request=$(as bob list --template '{{(index . 0).id}}')
	echo "$id" > id
	echo "$request" > request
	as alice sync
	jit reconcile --config reconcile.yaml
	# carol's machine is lost; she will come anew.
	mv carol carol.before
	;;
agree)
	shift
	head=$(git -C store rev-parse main)
	want=$(as "$1" status --template '{{.head}} {{.digest}} {{.problem}}')
	for p; do
		got=$(as "$p" status --template '{{.head}} {{.digest}} {{.problem}}')
		test "$got" = "$want" || { echo "$1: $want, $p: $got" >&2; exit 1; }
	done
	test "${want%% *}" = "$head" || { echo "the head is $head, verified is $want" >&2; exit 1; }
	test "$(cat machine/store/checkpoint)" = "$head" || { echo "the reconciler stands elsewhere" >&2; exit 1; }
	wrong=$(git -C store fsck --strict --no-dangling 2>&1 | grep -v '^notice: ' || true)
	test -z "$wrong" || { echo "git fsck: $wrong" >&2; exit 1; }
	git -C eve pull -q --ff-only origin main
	rm -rf clone
	git clone -q store clone
	git -C clone log --first-parent --format=%s
	;;
esac
