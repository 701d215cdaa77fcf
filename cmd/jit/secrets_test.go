package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// glue writes a secret in two parts, so that scanners of this repository find none.
func glue(parts ...string) string { return strings.Join(parts, "") }

// letters gives n letters of an alphabet, the same each time.
func letters(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// TestSecretsAreSeen: each kind by a made-up one, within an honest sentence.
func TestSecretsAreSeen(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	an := func(n int) string { return letters(r, alnum, n) }
	jwt := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for secret, want := range map[string]string{
		glue("-----BEGIN OPENSSH PRIV", "ATE KEY-----"):                                  "a private key",
		glue("-----BEGIN RSA PRIV", "ATE KEY-----"):                                      "a private key",
		glue("-----BEGIN PGP PRIV", "ATE KEY BLOCK-----"):                                "a private key",
		glue("AGE-SECRET-", "KEY-1", letters(r, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)): "a private key",
		glue("AK", "IA", letters(r, upper, 16)):                                          "an AWS access key",
		glue("AI", "za", an(35)):                                                         "a Google key",
		glue("ya", "29.", an(40)):                                                        "a Google token",
		glue("gh", "p_", an(36)):                                                         "a GitHub token",
		glue("github", "_pat_", an(22), "_", an(59)):                                     "a GitHub token",
		glue("gl", "pat-", an(20)):                                                       "a GitLab token",
		glue("xo", "xb-", "123456789012-", an(24)):                                       "a Slack token",
		glue("https://hooks.slack", ".com/services/T00000000/B00000000/", an(24)):        "a Slack web hook",
		glue("sk", "_live_", an(24)):                                                     "a Stripe key",
		glue("npm", "_", an(36)):                                                         "an npm token",
		glue("py", "pi-", an(60)):                                                        "a PyPI token",
		glue("hv", "s.", an(24)):                                                         "a Vault token",
		glue("s", ".", an(24)):                                                           "a Vault token",
		glue("sk", "-ant-api03-", an(40)):                                                "an Anthropic key",
		glue("sk", "-proj-", an(48)):                                                     "an OpenAI key",
		glue("sk", "-", an(48)):                                                          "an OpenAI key",
		glue("dop", "_v1_", letters(r, "0123456789abcdef", 64)):                          "an API token",
		jwt(`{"alg":"HS256"}`) + "." + jwt(`{"sub":"1234567890"}`) + "." + an(43):        "a signed token",
		"password=hunter22":                                                              "a password",
		"PGPASSWORD=hunter22":                                                            "a password",
		`"api_key":"hunter22x"`:                                                          "a password",
		"Authorization: Bearer " + letters(r, "abcdefghij", 12):                          "an authorization header",
		"curl -H 'authorization: basic " + base64.StdEncoding.EncodeToString([]byte("a:bcd")): "an authorization header",
		"postgres://orders:hunter2@db1/orders":                                                "a password in an address",
		"https://bob:s3cret@git.example.com/x":                                                "a password in an address",
		glue("AWS_SECRET_ACCESS", "_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"):            "a password",
		glue("DB_PASS", "WORD=hunter"):                                                        "a password",
		glue("CI_TOK", "EN='hunter22'"):                                                       "a password",
		glue("DB_PASS", "WORD: hunter22x"):                                                    "a password",
		glue("LICENSE_K", "EY=AAAA-1111-BBBB"):                                                "a password",
		glue("STRIPE_API", "KEY=hunter"):                                                      "a password",
		glue("orders_db_pass", "word=hunter2"):                                                "a password",
		glue("spring.datasource-pass", "word=hunter2"):                                        "a password",
		glue("curl -u bob:s3", "cretpw https://x"):                                            "a password",
		glue("curl -sSu 'bob:s3", "cretpw' https://x"):                                        "a password",
		glue("curl --user bob:s3", "cretpw https://x"):                                        "a password",
		glue("mysql -uroot -pS3", "cret"):                                                     "a password",
		glue("mysqldump -h db1 -p'S3", "cret' orders"):                                        "a password",
		glue("sshpass -p S3", "cret ssh db1"):                                                 "a password",
		glue("redis-cli -h r1 -a S3", "cret"):                                                 "a password",
		glue("ldapsearch -D cn=x -w S3", "cret"):                                              "a password",
		glue("psqlish --pass", "word S3cret"):                                                 "a password",
		"amqp://bob:s3:cret@mq1/":                                                             "a password in an address",
		an(40):                                                                                "a long random word",
		base64.StdEncoding.EncodeToString([]byte(an(32))):                                     "a long random word",
		"wJalrXUtnFEMI/" + "K7MDENG/bPxRfiCYEXAMPLEKEY" + "0aB1cD2eF3gH4iJ5kL6mN7":            "a long random word",
	} {
		for _, text := range []string{secret, "look at the log with " + secret, "first\nsecond: " + secret + ", please"} {
			if got := looksSecret(text); got != want {
				t.Errorf("%q looks like %q, want %q", text, got, want)
			}
		}
	}
	// What is drawn is called random nearly always: of those of 32 characters, all but a few.
	missed := 0
	for range 1000 {
		if looksSecret(an(32)) == "" {
			missed++
		}
	}
	if missed > 20 {
		t.Errorf("%d of 1000 random words were passed over", missed)
	}
}

// honest are things that people write; none of them is asked about.
func honest() []string {
	all := strings.Split(strings.TrimSpace(honestReasons), "\n")
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 60 {
		sum1, sum2 := sha1.Sum([]byte{byte(i)}), sha256.Sum256([]byte{byte(i)})
		id, err := record.NewID(time.Date(2026, 11, 23, 9, i, 0, 0, time.UTC), strings.NewReader(letters(r, alnum, 64)))
		if err != nil {
			panic(err)
		}
		hexed := hex.EncodeToString(sum2[:])
		all = append(all,
			"revert commit "+hex.EncodeToString(sum1[:]),
			"deploy sha256:"+hexed+" to web1",
			"key "+strings.ToUpper(hex.EncodeToString(sum1[:]))+" of the reconciler",
			"after request "+string(id),
			fmt.Sprintf("trace %s-%s-4%s-a%s-%s is slow", hexed[:8], hexed[8:12], hexed[13:16], hexed[17:20], hexed[20:32]),
			fmt.Sprintf("OPS-%d: restart order-service-%s-%s", 1000+i, hexed[:10], letters(r, "bcdfghjklmnpqrstvwxz2456789", 5)),
			fmt.Sprintf("INC%07d, see https://wiki.example.com/display/OPS/Runbook+%d?pageId=%d#Step-2", i*7919, i, i*104729),
		)
	}
	return all
}

// TestHonestReasonsPass: no false alarm on some hundreds of honest texts.
func TestHonestReasonsPass(t *testing.T) {
	all := honest()
	wrong := 0
	for _, text := range all {
		if looks := looksSecret(text); looks != "" {
			wrong++
			t.Errorf("%q looks like %s", text, looks)
		}
	}
	t.Logf("%d of %d honest texts were asked about", wrong, len(all))
	if len(all) < 450 {
		t.Errorf("only %d texts: the list is broken", len(all))
	}
}

// TestPoliciesHoldNoSecrets: nor is an honest policy asked about.
func TestPoliciesHoldNoSecrets(t *testing.T) {
	files, err := filepath.Glob("../../testdata/policies/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no policies: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if looks := knownSecret(string(text)); looks != "" {
			t.Errorf("%s looks like %s", file, looks)
		}
	}
}

const honestReasons = `
look at the log
OPS-1
INC0012345
CHG-2026-0042: nightly batch stuck, need to kill two queries
look into the slow checkout (OPS-4211)
customer 48213 cannot log in, need to compare their row with the audit table
please, as discussed with @bob in #ops-oncall
rotate the password of the reporting user
rotate the passwords: orders, billing and search
the token of the CI expired; I need to see which job uses it
reset the API key for tenant acme
the secret is stored in Vault under kv/orders/db, I only need the path
secret rotation: see the runbook
password reset mails are not sent
password: reset for carol
passwords: none are shown
token: expired again
token=<redacted>
password=*** in the log, need to see who wrote it
password=... is logged by the importer
Authorization header is missing in the proxy's log
authorization: bearer token is not forwarded by nginx
the bearer of this ticket is the customer's CISO
basic auth is broken on staging
check why api_key is null for 12 rows
set reset_password=true for carol
must_change_password=false is wrong for 12 users
the form sends has_token=null
index on primary_key=customer_id is slow
SORT_KEY=customer is missing
export DB_PASSWORD=$PW is missing in the unit
DB_PASSWORD=<from vault> is not replaced
DB_PASSWORD: rotated today, need to see who still has the old one
DB_PASSWORD_FILE=/run/secrets/db is not read
AWS_SECRET_ACCESS_KEY is not set on web1
curl -u $USER:$PASS fails with 401
curl -u bob asks again and again
curl -u bob:*** fails
curl --user-agent test:1 https://example.com is blocked
docker run -u 1000:1000 fails on web2
mysql -uroot -p asks for it and hangs
mysql --protocol=tcp -P 3307 is refused
mysql-proxy is slow since 10:00
the mysql slave lags; ssh -p 2222 works
find out why --password is ignored by the importer
the option --token is deprecated since 2.4
redis-cli -a is used in a script, need to remove it
http://web1:8080/status says 503
access key rotation for the backup account
client_secret column must be dropped
fix PGPASSWORD handling in deploy.sh
https://jira.example.com/browse/OPS-4211
https://github.com/example/orders/pull/4211/files#diff-0f3e
https://github.com/example/orders/commit/9f1c2ab47de0
https://grafana.example.com/d/abc123XYZ/orders?orgId=1&from=now-6h&to=now
https://console.aws.amazon.com/cloudwatch/home?region=eu-central-1#logsV2:log-groups/log-group/orders
https://docs.google.com/document/d/notes
postgres://db1.example.com:5432/orders is down
postgres://db1:5432/orders?sslmode=require
ssh://git@git.example.com:2222/access.git does not answer
redis://cache1:6379/0 evicts too early
jdbc:postgresql://db1:5432/orders
mail from alice@example.com: "cannot see my orders"
deploy v1.42.0-rc.1+build.20261124
rollback to orders-service:2026.11.24-1432-g9f1c2ab
image registry.example.com/orders/api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
pod orders-api-7d9c5b8f6d-x2vqp is crash looping
pod orders-worker-7f6d5c4b8-zk9wm on node ip-10-0-12-34.eu-central-1.compute.internal
host ec2-3-120-45-67.eu-central-1.compute.amazonaws.com
instance i-0abcd1234ef567890, volume vol-0123456789abcdef0
arn:aws:iam::123456789012:role/orders-deploy
arn:aws:s3:::example-backups/orders/2026/11/24
s3://example-backups/orders/2026-11-24T03:00:00Z.dump.zst
gs://example-backups/orders.dump
kubectl -n orders logs deploy/orders-api --since=1h
SELECT count(*) FROM orders WHERE created_at > '2026-11-24'
UPDATE orders SET state = 'cancelled' WHERE id IN (4211, 4212)
java.lang.IllegalStateException: Could not obtain connection from HikariPool-1
com.example.orders.checkout.CheckoutServiceImplIntegrationTest fails
org.springframework.beans.factory.UnsatisfiedDependencyException at startup
AbstractSingletonProxyFactoryBean2Test is flaky on CI
NullPointerException in OrderLineItemRepositoryCustomImpl.java:142
Traceback in orders/tasks/reconcile_invoices.py line 88
/var/lib/postgresql/15/main/base/16384/2619 is corrupt
/etc/ssh/authorized_keys.d/deploy has an odd line
C:\Program Files\Orders\bin\orders.exe crashes
20261124T093000Z-orders-backup-full.tar.zst
X-Request-Id 7f3c1a2e-9b4d-4c6f-8a1e-2d3b4c5d6e7f
trace id 4bf92f3577b34da6a3ce929d0e0e4736, span 00f067aa0ba902b7
traceparent 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
etag "33a64df551425fcc55e4d42a148795d9f25f89d4"
MD5 d41d8cd98f00b204e9800998ecf8427e
SHA256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
fingerprint 2151 FA6B 7697 CDD2 BC01 EB33 D971 8861 C87B B479
fingerprint 2151FA6B7697CDD2BC01EB33D9718861C87BB479 replaces the old one
serial 4A:8F:1C:22:90:AB:CD:EF:01:23:45:67:89:AB:CD:EF
MAC address 02:42:ac:11:00:02
IPv6 2001:db8:85a3::8a2e:370:7334 is blocked
10.0.12.34:5432 refuses connections
DE89 3704 0044 0532 0130 00 was charged twice
DE89370400440532013000 was charged twice
order 4006381333931 of customer C-0048213
tracking 1Z999AA10123456784 is lost
ISBN 978-3-16-148410-0
phone +49 30 901820
cron 0 3 * * 1-5 did not run
PAGERDUTY Q1ABCDEF2GHIJK
PD incident Q0XK3Z9A7B1C2D
Zendesk #48213, second escalation
Sentry ORDERS-API-4QX
SRE-2026-11-24-postmortem-followups
JIRA: PLAT-991, PLAT-992, PLAT-993
need_read_access_to_orders_readonly_replica_2
THIS_IS_A_VERY_LONG_CONSTANT_NAME_2026
thisIsAVeryLongCamelCaseIdentifierNumber2
aVeryLongFileNameWithoutAnySpaces20261124Final2.xlsx
OrdersBackupRestoreDrillRunbookV2Final
Donaudampfschifffahrtsgesellschaftskapitän
Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz
データベースの遅延を調べます
на проверку журнала
pour voir les journaux de la base
que faut-il faire avec le ticket n° 4211 ?
ticket 🔥 OPS-4211
sk-learn upgrade on the batch host
s.th. is wrong with the replica
npm_config_registry is wrong on the build host
pypi-mirror is out of disk
ghp_ tokens must be found in the log of the leak check
AKIA keys: list who uses them
eyJ is how the tokens begin, and one is logged somewhere
BEGIN CERTIFICATE lines are missing in the chain
renew the certificate; the private key stays where it is
public key ssh-ed25519 of bob is wrong on web1
user:pass in URLs is refused by the proxy
http://orders.example.com/@bob shows a blank page
https://matrix.to/#/@bob:example.com
https://example.com/login?next=/orders&token_type=jwt
two-man rule, second pair of eyes: carol
on call; alert "ReplicationLagHigh" on db2 since 03:12
emergency: checkout down, 500s since 09:31 UTC
drop the index orders_customer_id_created_at_idx and build it again
migration 20261124093000_add_orders_state_index
V2026_11_24_0930__add_orders_state_index.sql
branch feature/OPS-4211-fix-checkout-timeouts
git tag orders-2026.47.1
build #48213 of orders-main
runner gitlab-runner-7c9d8b6f5-4xk2j
helm release orders-api-1.42.0
terraform apply for module.orders.aws_db_instance.replica[0]
CVE-2026-44544 and GHSA-fphv-w9fq-2525
RFC 9580 section 5.2.3
01KAQ7ZK3M5T0V9W8X7Y6Z5A4B
01kaq7zk3m5t0v9w8x7y6z5a4b
base32 MFRGGZDFMZTWQ2LKNNWG23TPOA
a = b, c=d, x=1
debug=true, retries=10, timeout=30s
PGHOST=db1 PGDATABASE=orders psql
--set image.tag=2026.11.24
+1 from me
n/a
x
`
