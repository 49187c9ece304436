// `homeostat audit verify`: do the audit chains hold, and if not, which record was changed, removed, inserted or moved?

import type { Command } from 'commander'
import { type Config, environmentsOf } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Clock, Log } from '../../schemas/ports.ts'
import type { LoadedConfig } from '../config/load.ts'
import { openPublicKeys, openVerificationKeys } from '../roles/keys.ts'
import { verifyAuditLog } from './audit-log.ts'
import { type AuditVerification, verifyAuditStore } from './audit-store.ts'
import type { History } from './backtest-history.ts'
import { parseMoment } from './backtest-moment.ts'
import { openProgress } from './backtest-progress.ts'
import { formatDuration, formatTable, formatUtcSecond, type Output } from './output.ts'

export interface AuditPorts {
  loaded(): LoadedConfig
  output(): Output
  openHistory(loaded: LoadedConfig): Promise<History>
  /** @throws AppError `log_unavailable`, `not_found` when there is no log */
  openLog(config: Config): Promise<Log>
  clock: Clock
  stderr: NodeJS.WriteStream
}

interface VerifyOptions {
  from?: string
  to?: string
  key?: readonly string[]
  log?: boolean
}

const DAY_MS = 86_400_000
/** Tables lose their old rows one after another, not at one moment. */
const EXPIRY_MARGIN_MS = 3_600_000
/** The migration that made the columns of the audit chain. */
const AUDIT_MIGRATION = 6

/** Adds `audit verify` to `program`. */
export function registerAudit(program: Command, ports: AuditPorts): void {
  const audit = program.command('audit').description('the audit chain over decisions, commands and outcomes')
  audit
    .command('verify')
    .description('check every record against its chain, its columns and the signed anchors; say which one was tampered with')
    .option('--from <when>', 'only records from then on: a time (2026-03-01T14:00Z) or how long ago (30m, 7d)')
    .option('--to <when>', 'only records until then')
    .option('--key <file...>', "public keys of control (PEM) that anchors must be signed with (default: the configuration's)")
    .option('--log', 'what the topics hold, in place of ClickHouse')
    .addHelpText(
      'after',
      '\nRecords of the last minute may be on their way and are left out. Exit code 1 when a chain does not hold.\nHow it works: infra/docs/audit.md'
    )
    .action((options: VerifyOptions) => verify(ports, options))
}

async function verify(ports: AuditPorts, options: VerifyOptions): Promise<void> {
  const loaded = ports.loaded()
  const { config } = loaded
  const nowMs = ports.clock.nowMs()
  const keys = options.key === undefined ? configuredKeys(config) : openPublicKeys(options.key, '--key')
  const startedMs = ports.clock.monotonicMs()
  const found = options.log ? await fromLog(ports, config, keys, nowMs) : await fromStore(ports, loaded, options, keys, nowMs)
  const report = { ok: found.findings.length === 0, ...found, tookMs: Math.round(ports.clock.monotonicMs() - startedMs) }
  ports.output().result(report, auditText(report))
  if (!report.ok) process.exitCode = 1
}

function configuredKeys(config: Config): Record<string, string> {
  try {
    return openVerificationKeys(config, new Set())
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    throw new AppError(error.code, `${error.message}; or give it with --key <file>`, { cause: error })
  }
}

async function fromLog(ports: AuditPorts, config: Config, keys: Record<string, string>, nowMs: number): Promise<AuditVerification> {
  const log = await ports.openLog(config)
  try {
    return await verifyAuditLog({ log, environments: environmentsOf(config), keys, nowMs })
  } finally {
    await log.close()
  }
}

async function fromStore(
  ports: AuditPorts,
  loaded: LoadedConfig,
  { from, to }: VerifyOptions,
  keys: Record<string, string>,
  nowMs: number
): Promise<AuditVerification> {
  const history = await ports.openHistory(loaded)
  const progress = openProgress(ports.stderr, () => ports.clock.monotonicMs())
  try {
    const asked = [from === undefined ? undefined : parseMoment(from, '--from', nowMs), await keptFromMs(history, loaded.config, nowMs)]
    const bounds = asked.filter(bound => bound !== undefined)
    return await verifyAuditStore({
      sql: history.sql,
      keys,
      nowMs,
      ...(bounds.length === 0 ? {} : { fromMs: Math.max(...bounds) }),
      ...(to === undefined ? {} : { toMs: parseMoment(to, '--to', nowMs) }),
      progress: (rows, of) => progress.show(of === 0 ? 1 : rows / of, `${rows.toLocaleString('en')} records`)
    })
  } finally {
    progress.clear()
    await history.close()
  }
}

/** From when on ClickHouse has everything; undefined when the audit chain is younger than what it keeps. */
async function keptFromMs({ sql }: History, { store }: Config, nowMs: number): Promise<number | undefined> {
  const [row] = await sql<{ atMs: number | string }>(
    `SELECT toUnixTimestamp64Milli(min(AppliedAt)) AS atMs FROM homeostat_migrations WHERE Version = ${AUDIT_MIGRATION} HAVING count() > 0`
  )
  const expiredMs = nowMs - store.recordsTtlDays * DAY_MS + EXPIRY_MARGIN_MS
  return row !== undefined && Number(row.atMs) < expiredMs ? expiredMs : undefined
}

/** The report for people. */
export function auditText({ chains, rows, findings, findingsOmitted, anchors, unchained, tookMs }: AuditVerification & { tookMs: number }): string {
  const chainRows = chains.map(({ chain, rows: records, firstSeq, firstAtMs, lastAtMs, head, anchor }) => ({
    chain,
    records,
    from: `${firstSeq}  ${formatUtcSecond(firstAtMs)}`,
    to: `${head.seq}  ${formatUtcSecond(lastAtMs)}`,
    head: head.hash.slice(0, 16),
    'vouched for': anchor === null ? 'by nobody' : `to ${anchor.seq}, signed ${formatUtcSecond(anchor.atMs)} by ${anchor.keyId.slice(0, 8)}`
  }))
  const faults = findings.map(({ chain, seq, type, id, atMs, fault, detail }) =>
    [
      `${fault.replace('_', ' ').toUpperCase()}  ${chain === '' ? 'in no chain' : `${chain} ${seq}`}${type === '' ? '' : `  ${type}`}`,
      `    ${id === '' ? '' : `${id}, `}${atMs === null ? '' : `${formatUtcSecond(atMs)} UTC: `}${detail}`
    ].join('\n')
  )
  if (findingsOmitted > 0) faults.push(`… and ${findingsOmitted} more`)
  const notes: string[] = []
  if (unchained > 0) notes.push(`${unchained} records of the time before the audit chain were not looked at.`)
  if (anchors.unknown_key > 0) notes.push(`${anchors.unknown_key} anchors were signed by a key that is not given: name it with --key.`)
  const checked = `${rows} records in ${chains.length} ${chains.length === 1 ? 'chain' : 'chains'}, ${anchors.good} anchors, ${formatDuration(tookMs)}`
  const sound = anchors.good > 0 || rows === 0 ? 'All hold' : 'The links hold, and no anchor vouches for them'
  const conclusion = findings.length === 0 ? `${sound}: ${checked}.` : `${findings.length + findingsOmitted} faults found: ${checked}.`
  const table = chainRows.length === 0 ? [] : [formatTable(chainRows, Object.keys(chainRows[0]!)), '']
  return [...table, ...(faults.length === 0 ? [] : [...faults, '']), ...notes, conclusion].join('\n')
}
