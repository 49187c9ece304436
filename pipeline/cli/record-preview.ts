// What a record's bytes say, for a person: OTLP and JSON decoded, everything else as a hex dump of its beginning.

import { otlpRoot } from '../otlp/descriptor.ts'
import { printable } from './printable.ts'

const TEXT_CHARS_MAX = 20_000 // A few screens; --raw has all of it.
const HEX_BYTES_MAX = 512
const HEX_BYTES_PER_LINE = 16
const ID_FIELDS = new Set(['traceId', 'spanId', 'parentSpanId'])
const strictText = new TextDecoder('utf-8', { fatal: true })

const MESSAGES = {
  metrics: 'opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest',
  spans: 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest',
  logs: 'opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest'
} as const

export interface Preview {
  kind: 'empty' | 'json' | 'otlp' | 'bytes'
  /** Several lines, cut where they are many. */
  text: string
}

/**
 * @param signal what the record's topic carries, when it carries OTLP; a value that is not OTLP is shown as bytes
 */
export function previewValue(value: Uint8Array | null, signal: keyof typeof MESSAGES | undefined): Preview {
  if (value === null || value.length === 0) return { kind: 'empty', text: value === null ? '(no value)' : '(0 bytes)' }
  const json = asJson(value)
  if (json !== undefined) return { kind: 'json', text: printable(cut(json)) }
  const otlp = signal && asOtlp(value, signal)
  if (otlp !== undefined) return { kind: 'otlp', text: printable(cut(otlp)) }
  return { kind: 'bytes', text: hexDump(value) }
}

function asJson(value: Uint8Array): string | undefined {
  try {
    return JSON.stringify(JSON.parse(strictText.decode(value)), null, 2)
  } catch {
    return undefined
  }
}

function asOtlp(value: Uint8Array, signal: keyof typeof MESSAGES): string | undefined {
  const type = otlpRoot().lookupType(MESSAGES[signal])
  try {
    const decoded = type.toObject(type.decode(value), { longs: String, enums: Number, bytes: Array })
    return JSON.stringify(
      decoded,
      (key, held: unknown) => (Array.isArray(held) && ID_FIELDS.has(key) ? Buffer.from(held as number[]).toString('hex') : held),
      2
    )
  } catch {
    return undefined // Not OTLP: that is why it is here.
  }
}

function cut(text: string): string {
  return text.length <= TEXT_CHARS_MAX ? text : `${text.slice(0, TEXT_CHARS_MAX)}\n… cut here, of ${text.length} characters: --raw writes the bytes`
}

/** Offset, bytes, and what of them is printable ASCII. */
function hexDump(value: Uint8Array): string {
  const lines: string[] = []
  for (let at = 0; at < Math.min(value.length, HEX_BYTES_MAX); at += HEX_BYTES_PER_LINE) {
    const bytes = Buffer.from(value.subarray(at, Math.min(at + HEX_BYTES_PER_LINE, HEX_BYTES_MAX)))
    const hex = bytes
      .toString('hex')
      .replaceAll(/../g, '$& ')
      .padEnd(3 * HEX_BYTES_PER_LINE)
    lines.push(`${at.toString(16).padStart(8, '0')}  ${hex} ${bytes.toString('latin1').replaceAll(/[^ -~]/g, '.')}`)
  }
  if (value.length > HEX_BYTES_MAX) lines.push(`… ${value.length - HEX_BYTES_MAX} bytes more: --raw writes them`)
  return lines.join('\n')
}
