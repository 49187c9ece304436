// What people and their tools say to Homeostat in a case, and what they read: the console's API, the command line, `homeostat explain`.

import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IncidentStory } from '../../../pipeline/console/live-view.ts'
import type { Control } from '../../../schemas/control.ts'
import { MAIN } from '../homeostat.ts'
import { type Assertion, that } from './assertions.ts'
import type { Rig } from './rig.ts'

const ID_SHOWN = 8

/** Writes a control record, as a pipeline that deploys or a person at the console does. @throws Error with the answer when it is refused */
export async function announce({ homeostat }: Pick<Rig, 'homeostat'>, record: Readonly<Record<string, unknown>>): Promise<Control> {
  const response = await homeostat.post('/api/controls', record)
  if (!response.ok) throw new Error(`${String(record['kind'])} could not be announced: ${response.status} ${await response.text()}`)
  return (await response.json()) as Control
}

/** Runs the command line. @returns what it printed on stdout @throws Error with what it printed on stderr when it fails */
export function runCli(folder: string, argv: readonly string[]): Promise<string> {
  const all = ['--disable-warning=ExperimentalWarning', MAIN, '--config', join(folder, 'homeostat.yaml'), ...argv]
  const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'pipe'] })
  const chunks: { out: Buffer[]; error: Buffer[] } = { out: [], error: [] }
  child.stdout.on('data', chunk => chunks.out.push(chunk as Buffer))
  child.stderr.on('data', chunk => chunks.error.push(chunk as Buffer))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => {
      if (code === 0) resolve(Buffer.concat(chunks.out).toString('utf8'))
      else reject(new Error(`homeostat ${argv.join(' ')} ended with ${code}: ${Buffer.concat(chunks.error).toString('utf8')}`))
    })
  })
}

/** What `homeostat explain` prints of an incident; kept in the run's folder as `explain-<name>-<incident>.txt`. '' when there is no incident. */
export async function explanationOf({ folder }: Pick<Rig, 'folder'>, name: string, story: IncidentStory | undefined): Promise<string> {
  if (story === undefined) return ''
  const text = await runCli(folder, ['explain', story.incident.id])
  writeFileSync(join(folder, `explain-${name}-${story.incident.id.slice(0, ID_SHOWN)}.txt`), text)
  return text
}

/** What `explain` must answer, each by the beginning of a sentence. */
export interface Answer {
  /** What it did. */
  did: string
  why: string
  /** What would change that, or that nothing is left to do. */
  change: string
}

/** `homeostat explain` answers first, before it tells of cause and decisions: what it did, why, what would change that. */
export function answersFirst(explanation: string, { did, why, change }: Answer): Assertion {
  const [head = ''] = explanation.split('\nCause:')
  const text = inOneLine(head)
  const missing = Object.entries({ did, why, change }).filter(([, phrase]) => !text.includes(phrase))
  const isFirst = missing.length > 0 || (text.indexOf(did) < text.indexOf(why) && text.indexOf(did) < text.indexOf(change))
  const detail =
    missing.length > 0
      ? `its answer lacks ${missing.map(([what, phrase]) => `${what}: ${phrase}`).join(' | ')}; it says: ${text || 'nothing'}`
      : isFirst
        ? `it says ${did} | ${why} | ${change}`
        : `it does not begin with what it did: ${text}`
  return that('explained', missing.length === 0 && isFirst, detail)
}

/** Of a twin in which nothing is done: each incident there is says so; where there is none nobody is asked. */
export async function explainsInaction(rig: Pick<Rig, 'folder'>, name: string, stories: readonly IncidentStory[]): Promise<Assertion> {
  const texts = await Promise.all(stories.map(story => explanationOf(rig, name, story)))
  const heads = texts.map(text => inOneLine(text.split('\nCause:')[0]!))
  const silent = heads.filter(head => !INACTION.some(phrase => head.includes(phrase)))
  const detail = stories.length === 0 ? 'there is no incident to explain' : silent.length === 0 ? `all ${stories.length} say that nothing was done` : silent[0]!
  return that('explained', silent.length === 0, detail)
}

/** As actuators/decide/explain-answer.ts has it for each way of not acting. */
const INACTION = ['nothing was done', 'It did nothing', 'It has not acted', 'Nothing is decided yet', 'It turned out to be a part of another incident']

/** The explanation has each of these anywhere: why, what would change it, what a person can do. */
export function explains({ explanation }: { explanation: string }, ...phrases: readonly string[]): Assertion {
  const text = inOneLine(explanation)
  const missing = phrases.filter(phrase => !text.includes(phrase))
  return that('explained', missing.length === 0, missing.length === 0 ? `it says ${phrases.join(' | ')}` : `it lacks ${missing.join(' | ')}`)
}

const inOneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').trim()
