# Puts the hook before the bare repository "store", with the flags that are given.
set -eu
printf '#!/bin/sh\nexec jit hook pre-receive %s\n' "$*" > "$WORK/store/hooks/pre-receive"
chmod 755 "$WORK/store/hooks/pre-receive"
