// Alerts as a signal: the webhook of an Alertmanager (version 4) becomes anomalies, which open or join incidents like our own.
//
// POST /v1/alerts on the HTTP door, with the same tokens, TLS and limits as telemetry, when intake.alertmanager.enabled says so.
// An alert is one anomaly from `startsAt` to its resolution; its id follows from fingerprint and start, so Alertmanager's repeats,
// replicas and retries name the same one. Alerts of our own that come back are left out, or an incident would feed itself.

import { z } from 'zod'
import { type Anomaly, anomalyRecord } from '../../schemas/anomaly.ts'
import type { Config } from '../../schemas/config.ts'
import { entityIdentity } from '../../schemas/entity.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import { anomalyId, derivedId } from '../../schemas/ids.ts'
import { issueInWords } from '../../schemas/issue-words.ts'

export const ALERTS_PATH = '/v1/alerts'
/** A notification of a thousand alerts has about 1 MiB; it is parsed on the thread that answers senders. */
export const ALERTS_BYTES_MAX = 4 * 2 ** 20
/** Label of the alerts that Homeostat raises (actuators/drivers/alertmanager.ts). */
const OWN_ALERT_LABEL = 'homeostat_incident'
/** Labels that say which kind of trouble it is, and of what, when nothing else does. */
const KIND_LABEL = 'homeostat_kind'
const ENTITY_LABEL = 'homeostat_entity'
const LABELS_MAX = 50
const TEXT_LENGTH_MAX = 500

const texts = z.record(z.string(), z.string())
const alertSchema = z.object({
  status: z.enum(['firing', 'resolved']),
  labels: texts,
  annotations: texts.default({}),
  startsAt: z.string(),
  endsAt: z.string().default(''),
  fingerprint: z.string().default('')
})
const webhookSchema = z.object({ version: z.literal('4'), alerts: z.array(alertSchema) })
type Alert = z.infer<typeof alertSchema>
type LabelNames = Config['intake']['alertmanager']['labels']

export interface AlertsOptions {
  labels: LabelNames
  /** Of alerts that do not say. */
  environment: string
  nowMs: number
}

/**
 * The anomalies of one webhook body, as log input.
 * @returns `ignored`: alerts of our own
 * @throws AppError `malformed_alert`
 */
export function anomaliesOfWebhook(body: Uint8Array, options: AlertsOptions) {
  const { alerts } = parse(body)
  const foreign = alerts.filter(({ labels }) => labels[OWN_ALERT_LABEL] === undefined)
  return { records: foreign.map(alert => encodeRecord(anomalyRecord, anomalyOf(alert, options))), ignored: alerts.length - foreign.length }
}

function parse(body: Uint8Array): z.infer<typeof webhookSchema> {
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'))
  } catch {
    throw new AppError('malformed_alert', 'the body is not JSON')
  }
  const parsed = webhookSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const reason = issueInWords(parsed.error.issues[0]!, json)
  throw new AppError('malformed_alert', `not a webhook of Alertmanager, version 4: ${reason}`.slice(0, TEXT_LENGTH_MAX))
}

function anomalyOf(alert: Alert, { labels: names, environment: fallback, nowMs }: AlertsOptions): Anomaly {
  const { labels, annotations, status } = alert
  const name = (labels.alertname ?? 'unnamed').slice(0, TEXT_LENGTH_MAX)
  const sinceMs = Math.min(timeOf(alert.startsAt) ?? nowMs, nowMs)
  const endedAtMs = Math.min(timeOf(alert.endsAt) ?? nowMs, nowMs)
  const series = /^[0-9a-f]{16}$/.test(alert.fingerprint) ? alert.fingerprint : derivedId('alert', ...Object.entries(labels).sort().flat()).slice(0, 16)
  const detector = `alert:${name}`
  return {
    id: anomalyId(series, detector, sinceMs),
    status: status === 'firing' ? 'open' : 'close',
    detector,
    ...identityOf(labels, names, name, fallback),
    signal: 'metric',
    metric: `alertmanager.${kindOf(labels, name)}`,
    unit: '',
    attributes: Object.fromEntries(
      Object.entries(labels)
        .slice(0, LABELS_MAX)
        .map(([key, value]) => [key, value.slice(0, TEXT_LENGTH_MAX)])
    ),
    series,
    severity: severityOf(labels.severity),
    direction: 'above',
    ...{ observed: null, expected: null, lower: null, upper: null },
    // How rare it is, only its rule knows.
    ...{ score: 0, threshold: 0, samples: 0 },
    sinceMs,
    observedAtMs: status === 'firing' ? sinceMs : Math.max(sinceMs, endedAtMs),
    detectedAtMs: nowMs,
    shadow: false,
    reason: `${name}: ${annotations.summary ?? annotations.message ?? annotations.description ?? 'an alert without a summary'}`.slice(0, TEXT_LENGTH_MAX)
  }
}

/** RFC 3339 to ms; undefined for what is none, and for Go's zero time. */
function timeOf(text: string): number | undefined {
  const atMs = Date.parse(text)
  return Number.isFinite(atMs) && atMs > 0 ? atMs : undefined
}

/** The entity that the labels name, as intake would name it from resource attributes: `job` holds `namespace/service` in what OpenTelemetry exports. */
function identityOf(labels: Alert['labels'], names: LabelNames, alertname: string, fallback: string) {
  const first = (candidates: readonly string[]): string | undefined => candidates.map(name => labels[name]).find(value => value !== undefined && value !== '')
  const named = labels[ENTITY_LABEL]
  const environment = first(names.environment) ?? fallback
  if (named) return { entity: named, service: named.replace(/@.*$/, '').replace(/^.*\//, ''), environment }
  const service = first(names.service)
  const slash = service?.indexOf('/') ?? -1
  const attributes: Record<string, string | undefined> = {
    'service.namespace': slash > 0 ? service!.slice(0, slash) : first(names.namespace),
    'service.name': slash > 0 ? service!.slice(slash + 1) : service,
    'service.instance.id': first(names.instance)
  }
  return { ...entityIdentity(attribute => attributes[attribute], { entity: `alert/${alertname}`, environment }), environment }
}

const KINDS = ['errors', 'latency', 'saturation', 'alerts'] as const

const SIGNS: readonly (readonly [kind: (typeof KINDS)[number], sign: RegExp])[] = [
  ['latency', /\b(latency|slow|slowness|duration|delays?|delayed|timeouts?)\b/],
  ['saturation', /\b(memory|oom|disk|filesystem|cpu|saturat\w+|queues?|backlog|lag|quota|full|pressure|throttl\w+)\b/],
  ['errors', /\b(errors?|fail\w*|down|crash\w*|unavailable|5xx|absent|unreachable|restart\w*)\b/]
]

/** The kind of trouble, told by words in the alert's name: a rough guess that a label overrides. */
function kindOf(labels: Alert['labels'], name: string): (typeof KINDS)[number] {
  const said = KINDS.find(kind => kind === labels[KIND_LABEL])
  if (said !== undefined) return said
  const words = name.replaceAll(/([a-z0-9])([A-Z])|([A-Z]+)(?=[A-Z][a-z])/g, '$1$3 $2').toLowerCase()
  return SIGNS.find(([, sign]) => sign.test(words))?.[0] ?? 'alerts'
}

function severityOf(label = ''): Anomaly['severity'] {
  if (/^(critical|page|emergency|error|fatal|high|p1|sev1)$/i.test(label)) return 'critical'
  return /^(info|none|low|debug|p4|p5)$/i.test(label) ? 'info' : 'warning'
}
