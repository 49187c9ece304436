// Who holds a lease or writes a segment: a name that tells whether its process still lives.
//
// host, pid namespace, pid and start time of the process, then thread and a counter. A restart after kill -9 takes its own
// leases over at once, since no process with that pid and start time exists; on another host only expiry tells.

import { readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { threadId } from 'node:worker_threads'
import { processStart } from '../process-start.ts'

let count = 0

/** A name no other owner ever has on this machine. */
export function ownerName(): string {
  return [...processIdentity(), threadId, ++count].join('|')
}

/** True only when it is certain that the owner's process is gone. False for other hosts, other containers and living processes. */
export function isOwnerDead(owner: string): boolean {
  const [host, namespace, pid, startedAt] = owner.split('|')
  const [ownHost, ownNamespace] = processIdentity()
  if (host !== ownHost || namespace !== ownNamespace) return false
  const found = processStart(Number(pid))
  return found === 'none' || (found !== 'unknown' && startedAt !== 'unknown' && found !== startedAt)
}

let identity: readonly string[] | undefined
function processIdentity(): readonly string[] {
  identity ??= [hostname().replaceAll('|', '_'), pidNamespace(), String(process.pid), processStart(process.pid)]
  return identity
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return 'none' // Not Linux: one namespace a machine.
  }
}
