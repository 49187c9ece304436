// A picture as one SVG file that needs nothing else: light or dark as the reader's system is, with title and description.
//
// Values are a line that breaks where data is missing; the band is an area, the expected level dashed, the anomalous stretch a tinted
// column with its part of the line in the warning colour. Colours hold 4.5 : 1 against their ground in both schemes, and no
// meaning hangs on colour alone.

import { type Picture, unbroken, valueRange } from './picture.ts'
import { timeAxis, valueAxis } from './scale.ts'
import { wrap } from './words.ts'

export interface SvgOptions {
  width?: number
  height?: number
  /** Distinguishes the ids of several pictures in one page. */
  id?: string
}

const WIDTH = 880
const HEIGHT = 360
const TOP = 82
const RIGHT = 20
const BOTTOM = 66
/** Of the 12 px labels. */
const CHAR_WIDTH = 7
const LABEL_EVERY_PX = 90
const TITLE_CHARS_MAX = 80
const CAPTION_LINES_MAX = 2
const CAPTION_CHARS = 128
/** Single points between gaps are dots; a denser line needs none. */
const DOTS_MAX = 60

const STYLE = `
.ground{fill:#ffffff}.text{fill:#1f2430}.faint{fill:#5a6270}.grid{stroke:#e3e6eb}.axis{stroke:#8a93a3}
.band{fill:#2f6f9f;fill-opacity:.13}.expected{stroke:#2f6f9f}.value{stroke:#1f2430}.value-dot{fill:#1f2430}
.stretch{fill:#c22f1d;fill-opacity:.09}.anomalous{stroke:#c22f1d}.anomalous-dot,.anomalous-text{fill:#b02a19}
@media (prefers-color-scheme:dark){
.ground{fill:#14171d}.text{fill:#eceff4}.faint{fill:#a3adbd}.grid{stroke:#2a303b}.axis{stroke:#6d7787}
.band{fill:#6db3e8;fill-opacity:.16}.expected{stroke:#6db3e8}.value{stroke:#eceff4}.value-dot{fill:#eceff4}
.stretch{fill:#ff7a66;fill-opacity:.13}.anomalous{stroke:#ff7a66}.anomalous-dot,.anomalous-text{fill:#ff8d7c}}
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;font-variant-numeric:tabular-nums}
.title{font-size:15px;font-weight:600}.line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}`

export function drawSvg(picture: Picture, { width = WIDTH, height = HEIGHT, id = 'picture' }: SvgOptions = {}): string {
  const bottom = height - BOTTOM - picture.notes.length * 16
  const values = valueAxis(valueRange(picture), picture.unit, picture.rate, 5)
  const left = Math.max(...values.ticks.map(({ label }) => label.length)) * CHAR_WIDTH + 22
  const times = timeAxis(picture.fromMs, picture.toMs, Math.floor((width - left - RIGHT) / LABEL_EVERY_PX))
  const x = (atMs: number): number => round(left + ((atMs - picture.fromMs) / (picture.toMs - picture.fromMs)) * (width - left - RIGHT))
  const y = (value: number): number => round(TOP + ((values.max - value) / (values.max - values.min)) * (bottom - TOP))
  const parts: string[] = []

  if (picture.anomalous) {
    const { fromMs, toMs } = picture.anomalous
    const from = x(Math.max(fromMs, picture.fromMs))
    parts.push(`<rect class="stretch" x="${from}" y="${TOP}" width="${Math.max(2, round(x(Math.min(toMs, picture.toMs)) - from))}" height="${bottom - TOP}"/>`)
  }
  for (const { at, label } of values.ticks) {
    parts.push(`<line class="grid" x1="${left}" x2="${width - RIGHT}" y1="${y(at)}" y2="${y(at)}"/>`)
    parts.push(`<text class="faint" x="${left - 8}" y="${y(at) + 4}" text-anchor="end">${xmlText(label)}</text>`)
  }
  for (const { fromMs, toMs, expected, lower, upper } of picture.expectations) {
    const [from, to] = [x(fromMs), x(toMs)]
    const [high, low] = [upper === null ? TOP : y(upper), lower === null ? bottom : y(lower)]
    if (upper !== null || lower !== null)
      parts.push(`<rect class="band" x="${from}" y="${high}" width="${round(to - from)}" height="${Math.max(1, round(low - high))}"/>`)
    if (expected !== null)
      parts.push(`<line class="expected" x1="${from}" x2="${to}" y1="${y(expected)}" y2="${y(expected)}" stroke-width="1.4" stroke-dasharray="5 4"/>`)
  }
  parts.push(...lines(picture, x, y))
  parts.push(`<line class="axis" x1="${left}" x2="${width - RIGHT}" y1="${bottom}" y2="${bottom}"/>`)
  for (const { at, label } of times.ticks) {
    parts.push(`<line class="axis" x1="${x(at)}" x2="${x(at)}" y1="${bottom}" y2="${bottom + 5}"/>`)
    parts.push(`<text class="faint" x="${x(at)}" y="${bottom + 19}" text-anchor="middle">${label}</text>`)
  }
  parts.push(`<text class="faint" x="${width - RIGHT}" y="${bottom + 46}" text-anchor="end">${dayText(picture)}</text>`)
  parts.push(legend(picture, left, bottom + 42))
  for (const [index, note] of picture.notes.entries()) parts.push(`<text class="faint" x="${left}" y="${bottom + 62 + index * 16}">${xmlText(note)}</text>`)

  const title = picture.title.length > TITLE_CHARS_MAX ? `${picture.title.slice(0, TITLE_CHARS_MAX)}…` : picture.title
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="${id}-title ${id}-desc" style="max-width:100%;height:auto">
<title id="${id}-title">${xmlText(picture.title)}</title>
<desc id="${id}-desc">${xmlText(picture.description)}</desc>
<style>${STYLE}</style>
<rect class="ground" width="${width}" height="${height}"/>
<text class="text title" x="${left}" y="26">${xmlText(title)}</text>
${caption(picture, left)}
${parts.join('\n')}
</svg>
`
}

function caption({ description }: Picture, left: number): string {
  const lines = wrap(description, CAPTION_CHARS)
  const shown = lines.slice(0, CAPTION_LINES_MAX)
  if (lines.length > CAPTION_LINES_MAX) shown[CAPTION_LINES_MAX - 1] += ' …'
  return shown.map((line, index) => `<text class="faint" x="${left}" y="${46 + index * 16}">${xmlText(line)}</text>`).join('\n')
}

function dayText({ fromMs, toMs }: Picture): string {
  const [from, to] = [fromMs, toMs].map(atMs => new Date(atMs).toISOString().slice(0, 10))
  return from === to ? `${from}, UTC` : `${from} to ${to}, UTC`
}

function lines({ values, anomalous }: Picture, x: (atMs: number) => number, y: (value: number) => number): string[] {
  const parts: string[] = []
  const within = (atMs: number): boolean => anomalous !== undefined && atMs >= anomalous.fromMs && atMs <= anomalous.toMs
  for (const stretch of unbroken(values)) {
    // Runs of one colour; a run begins with the last point of the one before, so that the line does not break.
    let run: string[] = []
    let isAnomalous = within(stretch[0]!.atMs)
    const end = (): void => {
      if (run.length > 1) parts.push(`<polyline class="line ${isAnomalous ? 'anomalous' : 'value'}" points="${run.join(' ')}"/>`)
    }
    for (const { atMs, value } of stretch) {
      const point = `${x(atMs)},${y(value)}`
      if (within(atMs) !== isAnomalous) {
        end()
        run = run.slice(-1) // The way from one to the other takes the colour of where it leads.
        isAnomalous = within(atMs)
      }
      run.push(point)
    }
    end()
    if (values.length > DOTS_MAX && stretch.length > 1) continue
    for (const { atMs, value } of stretch) parts.push(`<circle class="${within(atMs) ? 'anomalous' : 'value'}-dot" cx="${x(atMs)}" cy="${y(value)}" r="2.4"/>`)
  }
  return parts
}

function legend(picture: Picture, left: number, y: number): string {
  const parts: string[] = []
  let at = left
  const entry = (mark: string, text: string, style = 'text'): void => {
    parts.push(`<g transform="translate(${at} ${y})">${mark}<text class="${style}" x="28" y="4">${xmlText(text)}</text></g>`)
    at += 28 + text.length * CHAR_WIDTH + 18
  }
  entry('<line class="line value" x1="0" x2="22" y1="0" y2="0"/>', 'value')
  if (picture.expectations.some(({ expected }) => expected !== null))
    entry('<line class="expected" x1="0" x2="22" y1="0" y2="0" stroke-width="1.4" stroke-dasharray="5 4"/>', 'expected')
  if (picture.expectations.some(({ lower, upper }) => lower !== null || upper !== null))
    entry('<rect class="band" x="0" y="-6" width="22" height="12"/>', 'normal')
  if (picture.anomalous) {
    const { fromMs, toMs, isOpen } = picture.anomalous
    const text = `anomalous ${clock(fromMs)} to ${isOpen ? 'now, still open' : clock(toMs)}`
    entry('<rect class="stretch" x="0" y="-6" width="22" height="12"/><line class="line anomalous" x1="0" x2="22" y1="0" y2="0"/>', text, 'anomalous-text')
  }
  return parts.join('')
}

const clock = (atMs: number): string => new Date(atMs).toISOString().slice(11, 19)
const round = (value: number): number => Math.round(value * 10) / 10

/** Text for XML. Control characters, which XML cannot hold, are left out. */
export function xmlText(text: string): string {
  return text
    .replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
