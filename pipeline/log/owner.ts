// Who holds a lease or writes a segment: a name that tells whether its process still lives.
//
// host, pid namespace, pid and start time of the process, then thread and a counter. A restart after kill -9 takes its own
// leases over at once, since no process with that pid and start time exists; on another host only expiry tells.

import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { threadId } from 'node:worker_threads'

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
  const found = startTime(Number(pid))
  return found === 'none' || (found !== 'unknown' && startedAt !== 'unknown' && found !== startedAt)
}

let identity: readonly string[] | undefined
function processIdentity(): readonly string[] {
  identity ??= [hostname().replaceAll('|', '_'), pidNamespace(), String(process.pid), startTime(process.pid)]
  return identity
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return 'none' // Not Linux: one namespace a machine.
  }
}

/** Start of a process in clock ticks since boot (proc(5), field 22); `none` when there is no such process. */
function startTime(pid: number): string {
  try {
    process.kill(pid, 0)
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ESRCH') return 'none'
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name in brackets and may hold spaces and brackets itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? 'none' : (fields[19] ?? 'unknown')
  } catch {
    return 'unknown'
  }
}
