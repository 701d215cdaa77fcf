# Puts the hook before the bare repository "store", with the flags that are given.
set -eu
# With its full path: a reconciler gives what it starts a PATH of its own.
printf '#!/bin/sh\nexec "%s" hook pre-receive %s\n' "$(command -v jit)" "$*" > "$WORK/store/hooks/pre-receive"
chmod 755 "$WORK/store/hooks/pre-receive"
