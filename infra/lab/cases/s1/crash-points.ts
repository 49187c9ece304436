// Preloaded into every thread and process of the Homeostat under test: kills all of it (SIGKILL to the group) at the armed point.
//
// The ports' implementations are wrapped here, in the lab alone: the log, the ledger, the store, HTTP calls. Which points are armed
// stands in `FOLDER/armed`, a line each; one that fires is taken out and noted in `FOLDER/crashes.jsonl` first.
// The clock can be stepped, too: `FOLDER/clock-step` holds ms that are added to the wall clock, as a step of the machine's would.

import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { EmbeddedLog } from '../../../../pipeline/log/embedded-log.ts'
import { SqliteLedger } from '../../../../pipeline/ledger.ts'
import { ClickHouseStore } from '../../../../pipeline/store/clickhouse-store.ts'
import type { LedgerRows } from '../../../../schemas/ports.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { FOLDER_VARIABLE } from './arming.ts'
import type { Place } from './points.ts'

const STEP_READ_MS = 200
const folder = process.env[FOLDER_VARIABLE]!
const realNowMs = Date.now.bind(Date)

function pass(place: Place | undefined, side: 'before' | 'after'): void {
  if (place === undefined) return
  const point = `${place}:${side}`
  const armed = textOf('armed').split('\n')
  if (!armed.includes(point)) return
  writeFileSync(join(folder, 'armed'), armed.filter(other => other !== point).join('\n'))
  appendFileSync(join(folder, 'crashes.jsonl'), `${JSON.stringify({ atMs: realNowMs(), point })}\n`)
  process.kill(0, 'SIGKILL')
}

function textOf(file: string): string {
  try {
    return readFileSync(join(folder, file), 'utf8')
  } catch {
    return ''
  }
}

const append = EmbeddedLog.prototype.append
EmbeddedLog.prototype.append = async function (topic, records) {
  const place = placeOfAppend(topic, records[0]?.key ?? '')
  pass(place, 'before')
  const positions = await append.call(this, topic, records)
  pass(place, 'after')
  return positions
}

function placeOfAppend(topic: string, key: string): Place | undefined {
  switch (topic) {
    case TOPICS.metrics.name:
      return isMainThread ? 'intake.metrics' : 'detect.derived'
    case TOPICS.spans.name:
      return 'intake.spans'
    case TOPICS.logs.name:
      return 'intake.logs'
    case TOPICS.anomalies.name:
      return 'detect.anomalies'
    case TOPICS.incidents.name:
      return 'diagnose.incidents'
    case TOPICS.decisions.name:
      return 'decide.decisions'
    case TOPICS.executions.name:
      return 'act.executions'
    case TOPICS.outcomes.name:
      return 'act.outcomes'
    case TOPICS.checkpoints.name:
      return !isMainThread
        ? 'detect.checkpoint'
        : key.startsWith('decide')
          ? 'decide.checkpoint'
          : key.startsWith('diagnose')
            ? 'diagnose.checkpoint'
            : undefined
    default:
      return topic.startsWith(TOPICS.commands.name.split('{')[0]!) ? 'decide.commands' : undefined
  }
}

const transaction = SqliteLedger.prototype.transaction
SqliteLedger.prototype.transaction = function <T>(this: SqliteLedger, work: (rows: LedgerRows) => T): T {
  let place: Place | undefined
  const result = transaction.call(this, rows => {
    const made = work({
      ...rows,
      put: (kind, key, row) => {
        place ??= placeOfRow(kind, row)
        rows.put(kind, key, row)
      }
    })
    pass(place, 'before')
    return made
  }) as T
  pass(place, 'after')
  return result
}

/** The first row that a transition writes tells which it is. */
function placeOfRow(kind: string, row: Readonly<Record<string, unknown>>): Place | undefined {
  if (kind === 'outbox') return row['open'] === false ? 'ledger.sent' : undefined
  if (kind === 'command')
    return row['state'] === 'recorded'
      ? 'ledger.recorded'
      : row['begunAtMs'] !== null
        ? 'ledger.begun'
        : row['evidence'] === null
          ? 'ledger.accepted'
          : 'ledger.evidence'
  if (kind !== 'step') return undefined
  switch (row['state']) {
    case 'begun':
      return 'ledger.begun'
    case 'applied':
    case 'failed':
    case 'unknown':
      return 'ledger.settled'
    case 'verified':
    case 'unverified':
      return 'ledger.verified'
    case 'recorded':
      return 'ledger.recorded'
    default:
      return undefined
  }
}

const insert = ClickHouseStore.prototype.insert
ClickHouseStore.prototype.insert = async function (...given) {
  pass('store.insert', 'before')
  await insert.apply(this, given)
  pass('store.insert', 'after')
}

const request = http.request as (...given: unknown[]) => http.ClientRequest
Object.assign(http, {
  request(url: unknown, options: http.RequestOptions, ...rest: unknown[]): http.ClientRequest {
    const place = options?.method === 'POST' && url instanceof URL ? placeOfCall(url) : undefined
    pass(place, 'before')
    const made = request(url, options, ...rest)
    // Its own listeners come later: what the answer says is not known to anyone here yet.
    if (place !== undefined) made.prependOnceListener('response', () => pass(place, 'after'))
    return made
  }
})

function placeOfCall({ pathname }: URL): Place | undefined {
  if (pathname.startsWith('/pods/')) return 'act.call'
  return pathname === '/pages' ? 'decide.page' : undefined
}

let stepMs = 0
let stepReadMs = 0
Date.now = () => {
  const nowMs = realNowMs()
  if (nowMs - stepReadMs >= STEP_READ_MS) {
    stepReadMs = nowMs
    stepMs = Number(textOf('clock-step')) || 0
  }
  return nowMs + stepMs
}

syncBuiltinESMExports()
