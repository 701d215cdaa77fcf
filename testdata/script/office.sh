# A store of carol's with the people of policy.yaml, of whom each has a JIT_HOME, and
# web1, the machine, whose configuration is reconcile.yaml.
set -eu
JIT_HOME=$WORK/carol jit init store --as carol --generate-key
id=$(JIT_HOME=$WORK/carol jit status --template '{{.store}}')
key() { JIT_HOME=$WORK/$1 jit whoami --template '{{.key}}'; }
sed -i "s/KEY_carol/$(key carol)/; s/ACCOUNT/$ACCOUNT/" policy.yaml
for p in alice bob dave erin web1; do
	JIT_HOME=$WORK/$p jit join store --as $p --generate-key --store-id $id
	sed -i "s/KEY_$p/$(key $p)/" policy.yaml
done
JIT_HOME=$WORK/carol jit policy propose policy.yaml --yes
mkdir accounts
cat > reconcile.yaml <<END
name: web1
key: web1/keys/$(key web1).asc
state: machine
store:
  url: $WORK/store
  identity: $id
targets:
  web1:
    settings:
      file: $WORK/accounts/%u
END
chmod 600 reconcile.yaml
