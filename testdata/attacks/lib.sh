# What an attacker has: git, gpg, and the keys of those who turned. The attacks
# write records byte by byte and sign them with gpg: no check of jit's own command
# line stands in the way. Read it with: . $ATTACKS/lib.sh
set -eu
cd "$WORK"
export GIT_AUTHOR_NAME=eve GIT_AUTHOR_EMAIL=eve@example.org GIT_COMMITTER_NAME=eve GIT_COMMITTER_EMAIL=eve@example.org

# As one of the people.
jit_as() { who=$1; shift; JIT_HOME=$WORK/$who jit "$@"; }

# The fingerprint of somebody's key.
key() { jit_as "$1" whoami --template '{{.key}}'; }

# The time by the clock of the script: now, now +1h, now -2d.
now() { attack-tool now "$@"; }

# A new id of a time, for a record: id, id +1h. Later ones are greater.
id() { attack-tool id "$@"; }

# The newest commit of the store, and the identity of it.
tip() { git -C store rev-parse main; }
store() { cat identity; }

# The first lines of a record: top KIND BY [ID [CREATED]]
top() { printf 'apiVersion: jit/v1\nkind: %s\nid: %s\nstore: %s\nhead: %s\ncreated: %s\nby: %s\n' "$1" "${3:-$(id)}" "$(store)" "$(tip)" "${4:-$(now)}" "$2"; }

# sign NAME FILE [GPG OPTION...]: beside it, FILE.asc, with NAME's own key, by gpg.
# SIGNED_AT is the time that the signature claims, where it is not now.
sign() {
	who=$1; file=$2; shift 2
	export GNUPGHOME=$WORK/gpg.$who
	if [ ! -d "$GNUPGHOME" ]; then
		mkdir -m 700 "$GNUPGHOME"
		gpg --batch --quiet --import "$WORK/$who"/keys/*.asc
	fi
	at=$(date -u -d "${SIGNED_AT:-$(now)}" +%Y%m%dT%H%M%S)
	rm -f "$file.asc"
	gpg --batch --quiet --faked-system-time "$at!" --digest-algo SHA512 --armor --no-emit-version "$@" --output "$file.asc" --detach-sign "$file"
}

# Where the records of a request stand: place ID
place() { day=$(attack-tool day "$1"); echo "requests/$day/$1"; }

# The folder of a request in eve's clone, which there must be.
folder() { dir=eve/$(place "$1"); mkdir -p "$dir"; echo "$dir"; }

# The sha256 of a file.
sum() { sha256sum "$1" | cut -d ' ' -f 1; }

# Takes what the others have pushed.
pull() { git -C eve pull -q --rebase origin main; }

# Commits all that lies in eve's clone, and pushes it.
push() { git -C eve add -A && git -C eve commit -q -m "${1:-attack}" && git -C eve pull -q --rebase origin main && git -C eve push -q origin HEAD:main; }

# Asks as somebody, and gives the id: asks alice web1:login [FLAGS]
asks() { who=$1; shift; jit_as "$who" request "$@" --for 20m -r 'look at the logs' >/dev/null && jit_as "$who" list --mine --template '{{(index . 0).id}}'; }

# Writes and signs a request: requests NAME RESOURCE ROLE [DURATION [ID]], and gives its id.
requests() {
	rid=${5:-$(id)}
	dir=$(folder "$rid")
	{
		top request "$1" "$rid" "${CREATED:-$(now)}"
		printf 'grants:\n  - resource: %s\n    role: %s\nduration: %s\nexpires: %s\nreason: look at the logs\n%s' "$2" "$3" "${4:-20m}" "${EXPIRES:-$(now +23h)}" "${MORE:-}"
	} > "$dir/request.yaml"
	SIGNED_AT=${SIGNED_AT:-${CREATED:-$(now)}} sign "${SIGNER:-$1}" "$dir/request.yaml"
	echo "$rid"
}

# Writes and signs a record about a request: about KIND NAME REQUEST [LINE...], and gives
# its path.
about() {
	kind=$1; by=$2; request=$3; shift 3
	dir=$(folder "$request")
	own=${ID:-$(id)}
	file=$dir/$own.$kind.yaml
	{
		top "$kind" "$by" "$own" "${CREATED:-$(now)}"
		printf 'request: %s\nrequestDigest: %s\n' "$request" "${DIGEST:-$(sum "$dir/request.yaml")}"
		for line; do printf '%s\n' "$line"; done
	} > "$file"
	SIGNED_AT=${SIGNED_AT:-${CREATED:-$(now)}} sign "${SIGNER:-$by}" "$file"
	echo "$file"
}

# Writes and signs a policy version: proposes NAME FILE, where FILE is a policy's body, and
# gives its id. REPLACES is the digest of the version that it says it replaces.
proposes() {
	pid=$(id)
	mkdir -p "eve/policy/$pid"
	file=eve/policy/$pid/policy.yaml
	{
		top policy "$1" "$pid"
		printf 'replaces: %s\nexpires: %s\n' "${REPLACES:-$(in_force)}" "${EXPIRES:-$(now +1d)}"
		cat "$2"
	} > "$file"
	sign "${SIGNER:-$1}" "$file"
	echo "$pid"
}

# The digest of the policy that is in force, and the id.
in_force() { sum "eve/policy/$(in_force_id)/policy.yaml"; }
in_force_id() { jit_as dave policy show --template '{{.id}}'; }

# Agrees to a policy version as an admin: agrees NAME ID
agrees() {
	own=$(id)
	file=eve/policy/$2/$own.approval.yaml
	{ top approval "$1" "$own"; printf 'request: %s\nrequestDigest: %s\n' "$2" "$(sum "eve/policy/$2/policy.yaml")"; } > "$file"
	sign "${SIGNER:-$1}" "$file"
	echo "$file"
}

# Asks with a request that is in the store by then, and gives its id: waits NAME RESOURCE ROLE
waits() { w=$(requests "$@") && push "$1 asks" && echo "$w"; }

# Changes the policy as its admins do, by a sed script over the file: changes SED
changes() {
	sed -i "$1" policy.yaml
	version=$(jit_as carol policy propose policy.yaml --yes --template '{{.id}}')
	jit_as dave approve "$version" --yes >/dev/null
	pull
}

# Lets a reconciler run, whatever it says: runs web1
runs() { jit reconcile --config "$1.yaml" || true; }

# Writes and signs a record that belongs to no request: standing KIND NAME [LINE...], and
# gives its path.
standing() {
	kind=$1; by=$2; shift 2
	own=${ID:-$(id)}
	dir=eve/records/$(attack-tool day "$own")
	mkdir -p "$dir"
	file=$dir/$own.$kind.yaml
	{
		top "$kind" "$by" "$own" "${CREATED:-$(now)}"
		for line; do printf '%s\n' "$line"; done
	} > "$file"
	SIGNED_AT=${SIGNED_AT:-${CREATED:-$(now)}} sign "${SIGNER:-$by}" "$file"
	echo "$file"
}

# A new key by gpg alone, whose owner sign knows as NAME: keygen NAME USERID
keygen() {
	mkdir -m 700 "$WORK/gpg.$1"
	at=$(date -u -d "$(now)" +%Y%m%dT%H%M%S)
	GNUPGHOME=$WORK/gpg.$1 gpg --batch --quiet --faked-system-time "$at!" --passphrase '' --quick-generate-key "$2" ed25519 sign never
}

# Lays a certificate into the store's folder of its key: publish FILE
publish() {
	fpr=$(gpg --batch --show-keys --with-colons "$1" 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }')
	mkdir -p "eve/keys/$fpr"
	cp "$1" "eve/keys/$fpr/$(sum "$1" | cut -c 1-16).asc"
}

# Puts packets from standard input into an armour as the store wants it: armour 'PUBLIC KEY BLOCK'
armour() { gpg --batch --enarmor 2>/dev/null | sed "/^Comment/d; s/PGP ARMORED FILE/PGP $1/"; }

# lay TREE FOLDER ENTRIES: TREE with what git ls-tree would list as ENTRIES in FOLDER (printf
# writes them: \t before a name, \000 between two). No name is checked.
lay() {
	if [ -z "$2" ]; then
		{ git -C eve ls-tree -z "$1"; printf "$3\\0"; } | grep -zv "^$" | git -C eve mktree -z --missing
		return
	fi
	first=${2%%/*}; rest=${2#"$first"}
	inner=$(git -C eve ls-tree "$1" | awk -F '\t' -v name="$first" '$2 == name { print substr($1, 13) }')
	[ -n "$inner" ] || inner=$(git -C eve mktree </dev/null)
	inner=$(lay "$inner" "${rest#/}" "$3")
	{ git -C eve ls-tree -z "$1" | grep -zv "	$(echo "$first" | sed 's/[.]/[.]/g')\$" || true; printf '040000 tree %s\t%s\0' "$inner" "$first"; } | git -C eve mktree -z --missing
}

# The store's blob with the bytes of a file: blob FILE
blob() { git -C eve hash-object -w --stdin <"$1"; }

# Commits a tree on top of the store's head, and pushes it: push_tree TREE
push_tree() {
	git -C eve fetch -q origin main
	git -C eve push -q origin "$(git -C eve commit-tree -p origin/main -m attack "$1"):refs/heads/main"
	git -C eve fetch -q origin main
}
