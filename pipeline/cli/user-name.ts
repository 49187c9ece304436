// Who types the command, as records name people who approve, stop or release.

import { userInfo } from 'node:os'

/** Login name; `uid-<n>` where the system knows none, as in a container that runs under a user of its own choice. */
export function userName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid-${process.getuid?.() ?? 'unknown'}`
  }
}
