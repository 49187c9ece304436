// What a person sees of a run: on a terminal one screen that lives (phase, services, incidents, cases), else plain lines.
//
// Written to stderr, so that stdout stays for the closing table and the JSON line. Colours only on a terminal.

import type { Incident } from '../../schemas/incident.ts'
import type { CaseReport } from './judge.ts'
import type { LabView } from './lab.ts'
import { SERVICES } from './layout.ts'
import type { Probes, Stream } from './probes.ts'
import { tableLines } from './table.ts'
import { readWitness } from './witness.ts'

const REPAINT_MS = 250
const LINES_KEPT = 12
const INCIDENTS_SHOWN = 4
const EFFECTS_SHOWN = 5
const SPARK_SAMPLES = 50 // Ten seconds of probes.
const [RESET, BOLD, DIM, RED, GREEN, YELLOW] = ['0', '1', '2', '31', '32', '33'].map(code => `\u001B[${code}m`) as [
  string,
  string,
  string,
  string,
  string,
  string
]
const ESCAPE_SEQUENCE = new RegExp(`(${String.fromCodePoint(27)}\\[[\\d;]*m)`)
const HOME_AND_CLEAR = '\u001B[H\u001B[J'
const ALTERNATE_SCREEN = '\u001B[?1049h\u001B[?25l'
const NORMAL_SCREEN = '\u001B[?1049l\u001B[?25h'

type Watched = Parameters<LabView['watch']>[0]

export function openView(stream: NodeJS.WriteStream): LabView {
  return stream.isTTY ? liveView(stream) : plainView(stream)
}

function plainView(stream: NodeJS.WriteStream): LabView {
  const line = (text: string): void => void stream.write(`${clock()} ${text}\n`)
  return { phase: name => line(`── ${name}`), line, watch: () => undefined, report: () => undefined, close: () => undefined }
}

function liveView(stream: NodeJS.WriteStream): LabView {
  let phase = ''
  let untilMs: number | null = null
  let watched: Watched | undefined
  let incidents: Incident[] = []
  const lines: string[] = []
  const reports: CaseReport[] = []
  stream.write(ALTERNATE_SCREEN)

  const paint = (): void => {
    const left = untilMs === null ? '' : ` ${DIM}${Math.max(0, Math.ceil((untilMs - Date.now()) / 1_000))} s left${RESET}`
    const blocks = [
      `${BOLD}Homeostat lab${RESET}  ${phase}${left}`,
      '',
      ...(watched ? [processLine(watched), '', ...healthLines(watched)] : []),
      '',
      ...incidents.slice(0, INCIDENTS_SHOWN).map(incidentLine),
      '',
      ...(watched ? effectLines(watched) : []),
      '',
      ...reports.map(reportLine),
      '',
      ...lines
    ]
    const width = stream.columns ?? 120
    stream.write(
      HOME_AND_CLEAR +
        blocks
          .slice(0, (stream.rows ?? 40) - 1)
          .map(text => clipped(text, width))
          .join('\n')
    )
  }
  const timer = setInterval(() => {
    void watched?.homeostat.incidents().then(
      now => {
        incidents = now
      },
      () => undefined
    )
    paint()
  }, REPAINT_MS)

  return {
    phase(name, until) {
      phase = name
      untilMs = until
    },
    line(text) {
      lines.push(`${DIM}${clock()}${RESET} ${text}`)
      if (lines.length > LINES_KEPT) lines.shift()
    },
    watch(parts) {
      watched = parts
    },
    report: report => void reports.push(report),
    close() {
      clearInterval(timer)
      stream.write(NORMAL_SCREEN)
    }
  }
}

function healthLines({ fleets }: Watched): string[] {
  return fleets.flatMap(({ environment, probes }) => [...(fleets.length > 1 ? [`  ${DIM}${environment}${RESET}`] : []), ...streamLines(probes)])
}

function streamLines(probes: Probes): string[] {
  const streams: readonly Stream[] = ['checkout', ...SERVICES]
  return streams.map(name => {
    const latest = probes.latest(name)
    const state = latest === undefined ? `${DIM}…${RESET}` : latest.ok ? `${GREEN}healthy${RESET}` : `${RED}broken ${RESET}`
    const spark = probes
      .samples(name)
      .slice(-SPARK_SAMPLES)
      .map(({ ok }) => (ok ? `${GREEN}▁` : `${RED}█`))
      .join('')
    const detail = name === 'worker' ? `${Math.round(probes.workerBytes() / 2 ** 20)} MiB` : `${Math.round(latest?.durationMs ?? 0)} ms`
    return `  ${name.padEnd(10)} ${state} ${spark}${RESET} ${DIM}${detail} ${latest?.ok === false ? latest.detail : ''}${RESET}`
  })
}

function incidentLine({ id, status, title, causes }: Incident): string {
  const paint = status === 'resolved' ? GREEN : status === 'escalated' ? RED : YELLOW
  const cause = causes[0] ? ` ${DIM}cause${RESET} ${causes[0].entity} (${causes[0].signature}, ${causes[0].score})` : ''
  return `  ${paint}${status.padEnd(9)}${RESET} ${id.slice(0, 8)} ${title}${cause}`
}

function effectLines({ fleets }: Watched): string[] {
  return fleets
    .flatMap(({ environment, folder }) => readWitness(folder).map(effect => ({ environment, ...effect })))
    .filter(({ key }) => key !== '')
    .sort((a, b) => a.at - b.at)
    .slice(-EFFECTS_SHOWN)
    .map(({ at, environment, service, event, pid }) => {
      const where = fleets.length > 1 ? ` of ${environment}` : ''
      return `  ${DIM}${clock(at)}${RESET} ${BOLD}${service}${RESET}${where} ${event} ${DIM}pid ${pid}${RESET}`
    })
}

/** Who runs, and who does not at this moment. */
function processLine({ processes }: Watched): string {
  return `  ${processes()
    .map(({ name, pid }) => (pid === undefined ? `${RED}${name} down${RESET}` : `${GREEN}${name}${RESET} ${DIM}${pid}${RESET}`))
    .join('  ')}`
}

function reportLine(report: CaseReport): string {
  const verdict = report.pass ? `${GREEN}passed${RESET}` : `${RED}failed${RESET}`
  return `  ${verdict} ${report.case}: detected after ${seconds(report.detectedMs)}, healthy after ${seconds(report.healedMs)}`
}

/** Fault, detected after, cause named, action, verdict, healed after. */
export function closingTable(reports: readonly CaseReport[]): string {
  const several = new Set(reports.map(({ environment }) => environment)).size > 1
  const rows = [
    ['fault', 'detected after', 'cause named', 'action', 'verdict', 'healed after', ''],
    ...reports.map(report => [
      `${report.case} (${several ? `${report.environment}/` : ''}${report.target})`,
      seconds(report.detectedMs),
      `${report.cause} ${report.signature}`.trim() || 'none',
      report.steps.join(', ') || 'none',
      report.verdict || 'none',
      seconds(report.healedMs),
      report.pass ? 'pass' : 'FAIL'
    ])
  ]
  const failures = reports.flatMap(report => report.failures.map(failure => `${report.case}: ${failure}`))
  return [...tableLines(rows), ...(failures.length > 0 ? ['', ...failures] : [])].join('\n')
}

function seconds(ms: number | null): string {
  return ms === null ? '–' : `${(ms / 1_000).toFixed(1)} s`
}

function clock(atMs = Date.now()): string {
  return new Date(atMs).toISOString().slice(11, 23)
}

/** Cut to the terminal's width; escape sequences take no place. */
function clipped(text: string, width: number): string {
  let shown = 0
  let cut = ''
  for (const part of text.split(ESCAPE_SEQUENCE)) {
    if (part.startsWith('\u001B')) cut += part
    else {
      cut += part.slice(0, Math.max(0, width - shown))
      shown += part.length
    }
  }
  return cut + RESET
}
