// When a process started: with its pid the name of a process that no other one ever has between two boots.

import { readFileSync } from 'node:fs'

/** Clock ticks since boot (proc(5), field 22); `none` when there is no such process, `unknown` where there is no /proc. */
export function processStart(pid: number): string {
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
