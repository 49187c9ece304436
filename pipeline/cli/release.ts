// `homeostat release`: a person has looked at a target; automation may act on it again.

import type { Command } from 'commander'
import type { Control } from '../../schemas/control.ts'
import type { ReleaseEffect } from '../console/releases.ts'
import type { Client } from './client.ts'
import { type Output, wrapped } from './output.ts'
import { userName } from './user-name.ts'

const STILL_HELD_SHOWN_MAX = 5

export interface ReleasePorts {
  client(): Client
  output(): Output
}

const NOTES = `
Frozen is what an act may or may not have happened to; held, too, is what a runbook did harm to, what another controller changes, and what
automation gave up on. \`homeostat explain <incident>\` names the target.

Where nothing is known of the target, nothing is released and the exit code is 4; --force releases it all the same.`

/** Adds the command to `program`. */
export function registerRelease(program: Command, { client, output }: ReleasePorts): void {
  program
    .command('release')
    .description('let automation act again on a target that you looked at: it was frozen, harmed, changed by others, or given up')
    .argument('<target>', 'as `explain` shows it')
    .option('--force', 'also one that nothing is known of')
    .option('--by <name>', 'who you are', userName())
    .addHelpText('after', NOTES)
    .action(async (target: string, { force, by }: { force?: boolean; by: string }) => {
      const record = await client().post<Control & ReleaseEffect>('/api/releases', { target, force: force === true, by })
      output().result(record, releaseText(target, record))
    })
}

function releaseText(target: string, { heldBy, stillHeld }: ReleaseEffect): string {
  const lines =
    heldBy.length === 0
      ? [`released ${target}, though nothing is known to have held it`]
      : [`released ${target}. What held it:`, ...heldBy.map(reason => wrapped(reason, '  '))]
  const more = stillHeld.length - STILL_HELD_SHOWN_MAX
  if (stillHeld.length > 0) lines.push(`Still held: ${stillHeld.slice(0, STILL_HELD_SHOWN_MAX).join(', ')}${more > 0 ? `, and ${more} more` : ''}`)
  return lines.join('\n')
}
