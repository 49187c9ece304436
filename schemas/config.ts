// Configuration: one YAML file, every key with its default. pipeline/config/load.ts reads it (file, line and column in errors).
// Longer than 300 lines because whoever looks for a key finds all of them in one place.

import { z } from 'zod'
import { escalationSchema } from './escalation.ts'
import { durationSchema } from './yaml-values.ts'
import { secretSchema as secret } from './secret.ts'
import { COLLECTOR_TOPICS, isForeignTopic } from './topics.ts'

const address = z.strictObject({ host: z.string().default('127.0.0.1'), port: z.number().int().min(0).max(65_535) })
const tls = z.strictObject({ certFile: z.string(), keyFile: z.string(), clientCaFile: z.string().optional() })
const credentials = z.strictObject({ username: z.string(), password: secret.optional() })
const ratio = z.number().min(0).max(1)
const environmentName = z.string().regex(/^[a-z0-9-]{1,40}$/, 'a name of at most 40 lower-case letters, digits and dashes')
/** A topic that Collectors write with their `kafka` exporter. Encoding absent: told from the first byte of each record. */
const collectorTopic = (name: string) =>
  z
    .strictObject({
      topic: z.string().refine(isForeignTopic, 'topics of Collectors have letters, digits, `.`, `_` and `-`, and do not begin with `homeostat.`').default(name),
      encoding: z.enum(['otlp_proto', 'otlp_json']).optional()
    })
    .prefault({})

export const configSchema = z.strictObject({
  apiVersion: z.literal('homeostat.io/v1'),
  kind: z.literal('Homeostat'),
  /** Where the embedded log, ClickHouse, ledger and keys live. */
  dataDir: z.string().default('.homeostat'),
  /** Environment of telemetry that does not say, and of this instance's actuator. */
  environment: environmentName.default('local'),
  /** Environments beside `environment` that control decides for, and whose commands topics are made and stored; each has an actuator of its own. */
  environments: z.array(environmentName).default([]),
  intake: z
    .strictObject({
      grpc: address.prefault({ port: 4317 }),
      http: address.prefault({ port: 4318 }),
      tls: tls.optional(),
      /** Bearer tokens that senders must present; none = open (loopback only). */
      tokens: z.array(secret).default([]),
      bodyBytesMax: z
        .number()
        .int()
        .min(1_024)
        .default(64 * 2 ** 20),
      /** Bytes accepted but not yet durable; beyond it senders are told to wait. */
      inFlightBytesMax: z
        .number()
        .int()
        .min(1_024)
        .default(256 * 2 ** 20),
      retryAfter: durationSchema.prefault('2s'),
      /** How long one append may take before the sender is told to retry, when it sets no deadline of its own. */
      appendTimeout: durationSchema.prefault('4s'),
      /** Entity of a resource that names neither service nor host; absent: the sender's address. */
      fallbackEntity: z.string().optional(),
      /** Webhooks of an Alertmanager on the HTTP door (`/v1/alerts`): its alerts open and join incidents. */
      alertmanager: z
        .strictObject({
          enabled: z.boolean().default(false),
          /** Labels of alerts that make the entity; the first that has a value counts. A service may hold its namespace: `shop/orders`. */
          labels: z
            .strictObject({
              service: z.array(z.string()).default(['service_name', 'service', 'job']),
              namespace: z.array(z.string()).default(['service_namespace', 'namespace']),
              instance: z.array(z.string()).default(['service_instance_id', 'instance']),
              environment: z.array(z.string()).default(['deployment_environment_name', 'deployment_environment', 'environment', 'env'])
            })
            .prefault({})
        })
        .prefault({}),
      /** The third door: topics of the Collector's own `kafka` exporter. Needs `log.kind: kafka`. */
      topics: z
        .strictObject({
          enabled: z.boolean().default(false),
          metrics: collectorTopic(COLLECTOR_TOPICS.metrics.name),
          spans: collectorTopic(COLLECTOR_TOPICS.spans.name),
          logs: collectorTopic(COLLECTOR_TOPICS.logs.name)
        })
        .refine(({ metrics, spans, logs }) => new Set([metrics.topic, spans.topic, logs.topic]).size === 3, 'metrics, spans and logs need a topic each')
        .prefault({})
    })
    .prefault({}),
  log: z
    .strictObject({
      /** `embedded`: files below dataDir, one machine. `kafka`: the cluster of the section `kafka`. */
      kind: z.enum(['embedded', 'kafka']).default('embedded'),
      bytesMax: z
        .number()
        .int()
        .min(2 ** 20)
        .default(8 * 2 ** 30),
      groupCommit: durationSchema.prefault('2ms')
    })
    .prefault({}),
  kafka: z
    .strictObject({
      /** Library that speaks to the brokers: infra/docs/kafka-clients.md says when to choose which. */
      client: z.enum(['kafkajs', 'platformatic']).default('kafkajs'),
      /** `host:port` to begin with; the cluster tells the rest. */
      brokers: z.array(z.string().regex(/^[^\s:]+:\d{1,5}$|^\[[0-9a-f:]+\]:\d{1,5}$/i, 'host:port')).default([]),
      /**
       * Names this process to its groups over restarts (static membership). Absent: host name, role and data directory. What closes
       * under a name given here keeps its partitions until it is back, at most for the session; otherwise others get them at once.
       */
      instance: z
        .string()
        .regex(/^[A-Za-z0-9._-]{1,100}$/, 'a name of at most 100 letters, digits, dots, dashes and underscores')
        .optional(),
      compression: z.enum(['none', 'gzip', 'zstd', 'lz4', 'snappy']).default('none'),
      tls: z.strictObject({ caFile: z.string().optional(), certFile: z.string().optional(), keyFile: z.string().optional() }).optional(),
      sasl: z.strictObject({ mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']), username: z.string(), password: secret }).optional(),
      /** A member that is silent for this long loses its partitions. */
      sessionTimeout: durationSchema.prefault('10s'),
      /** How topics are made by `homeostat topics apply`. */
      topics: z
        .strictObject({
          replication: z.number().int().min(1).max(32_767).default(3),
          minInsyncReplicas: z.number().int().min(1).default(2),
          /** Partitions by topic name; the others have those of the table of topics. */
          partitions: z.record(z.string(), z.number().int().min(1).max(10_000)).default({}),
          /** By topic name where it differs from the table: how long, and how many bytes in all partitions together, before the oldest goes. */
          retention: z.record(z.string(), z.strictObject({ time: durationSchema.optional(), bytes: z.number().int().min(1).optional() })).default({})
        })
        .prefault({})
    })
    .prefault({}),
  store: z
    .strictObject({
      /** Absent: ClickHouse runs inside this process (chdb) below dataDir. */
      url: z.string().optional(),
      database: z.string().default('homeostat'),
      /** Writes; reads too, unless `reader` is given. */
      username: z.string().default('default'),
      password: secret.optional(),
      /** Answers signals, the console and `homeostat sql`, with the limits of its settings profile. */
      reader: credentials.optional(),
      /** Makes and alters tables, and does nothing else. Absent: `username` does. */
      admin: credentials.optional(),
      /** False: the schema is only checked at start; `homeostat migrate` brings it up to date. */
      migrate: z.boolean().default(true),
      /** Tables are made ON CLUSTER with Replicated engines: its name, or a macro of the servers such as `{cluster}`. */
      cluster: z
        .string()
        .regex(/^[A-Za-z0-9_.-]{1,60}$|^\{[a-z_]{1,40}\}$/, "a cluster's name or a macro in braces")
        .optional(),
      batchRowsMax: z.number().int().min(1).default(5_000),
      batchInterval: durationSchema.prefault('1s'),
      telemetryTtlDays: z.number().int().min(1).default(7),
      recordsTtlDays: z.number().int().min(1).default(400)
    })
    .prefault({}),
  detect: z
    .strictObject({
      /** Threads of the detect role; they share the partitions, and `memoryMax`, between them. */
      threads: z.number().int().min(1).max(64).default(1),
      /**
       * Bytes that the state of detection may take in a process: half for the base tier (512 bytes a series; beyond it series are refused and
       * counted), a quarter for the rich tier (8 KB a series), a quarter for models of entities (0.33 MB an entity of 38 metrics).
       */
      memoryMax: z
        .number()
        .int()
        .min(2 ** 20)
        .default(2 ** 30),
      /** Window of derived rates and of delta sums. */
      window: durationSchema.prefault('10s'),
      /** How far behind the newest event time a window stays open for stragglers. */
      lateness: durationSchema.prefault('5s'),
      /** Points before a baseline may raise anomalies. */
      warmupPoints: z.number().int().min(10).default(60),
      /** Expected false alarms per series and day that the threshold is calibrated to. Novelties that are as rare are worth an incident, too. */
      falseAlarmsPerSeriesDay: z.number().min(1e-6).max(10).default(0.001),
      /** Rich tier: values, changes and shapes that were never there before. More frequent than the line above they are told as information. */
      novelty: z.strictObject({ falseAlarmsPerSeriesDay: z.number().min(1e-6).max(10).default(0.1) }).prefault({}),
      /** Models of entities: metrics that do not fit each other. More frequent than falseAlarmsPerSeriesDay they are told as information. */
      multivariate: z.strictObject({ falseAlarmsPerEntityDay: z.number().min(1e-6).max(24).default(1) }).prefault({}),
      /** Consecutive deviating points before an anomaly opens, normal ones before it closes. */
      enterPoints: z.number().int().min(1).default(3),
      exitPoints: z.number().int().min(1).default(5),
      /** Least deviation that matters, absolute in the series' own unit and relative to the expected value. */
      deviationMinRelative: ratio.default(0.2),
      /** A series with a regular interval is absent after this many of its own intervals, but not before `absenceMin`. */
      absenceIntervals: z.number().min(2).default(5),
      absenceMin: durationSchema.prefault('30s'),
      checkpointInterval: durationSchema.prefault('10s'),
      /** Static rules: a threshold with a duration and a recovery threshold. */
      rules: z
        .array(
          z.strictObject({
            name: z.string(),
            metric: z.string(),
            match: z.record(z.string(), z.string()).default({}),
            above: z.number().optional(),
            below: z.number().optional(),
            recover: z.number().optional(),
            for: durationSchema.prefault('0s'),
            severity: z.enum(['info', 'warning', 'critical']).default('warning')
          })
        )
        .default([]),
      /**
       * What you know of a metric better than its name and unit tell; the first match counts. Which way it hurts, and the least deviation
       * that matters, absolute in its own unit (rates: per second) and relative to the expected value.
       */
      metrics: z
        .array(
          z.strictObject({
            /** Regular expression. */
            metric: z.string(),
            direction: z.enum(['above', 'below', 'both', 'none']).optional(),
            deviationMin: z.number().min(0).optional(),
            deviationMinRelative: ratio.optional()
          })
        )
        .default([]),
      /** Metrics that are looked at more closely before others while memory lasts, beside requests, errors, durations and what rules and runbooks name (regular expressions). */
      important: z.array(z.string()).default([]),
      /** Metrics that are counted and stored but never scored (regular expressions). */
      ignore: z.array(z.string()).default([])
    })
    .prefault({}),
  diagnose: z
    .strictObject({
      /** Anomalies within this time and graph distance join one incident. */
      groupWindow: durationSchema.prefault('60s'),
      /** An incident without an open member for this long closes by itself. */
      resolveAfter: durationSchema.prefault('60s')
    })
    .prefault({}),
  decide: z
    .strictObject({
      policiesDir: z.string().optional(),
      runbooksDir: z.string().optional(),
      commandExpiry: durationSchema.prefault('60s'),
      /** Ed25519 private key that signs commands; absent: made once below dataDir. */
      signingKeyFile: z.string().optional()
    })
    .prefault({}),
  act: z
    .strictObject({
      concurrencyMax: z.number().int().min(1).default(4),
      drivers: z
        .strictObject({
          /** Supervised local processes: a YAML file that lists what may be started, and how. */
          process: z.strictObject({ definitionsFile: z.string() }).optional(),
          /** Units that may be touched. */
          systemd: z
            .strictObject({
              units: z.array(z.string()).min(1),
              verbs: z.array(z.enum(['restart', 'start', 'stop', 'reset-failed'])).default(['restart', 'start'])
            })
            .optional(),
          http: z
            .strictObject({
              endpoints: z.record(
                z.string(),
                z.strictObject({
                  method: z.enum(['POST', 'PUT', 'PATCH', 'DELETE']),
                  /** `{target}` and `{key}` stand for the target and the idempotency key, URL-encoded. */
                  url: z.string(),
                  headers: z.record(z.string(), secret).default({}),
                  statusMax: z.number().int().default(299),
                  timeout: durationSchema.prefault('10s'),
                  /** Tells whether an order was applied: GET, 200 yes, 404 no. `{key}` stands for its idempotency key. Makes the endpoint detectable. */
                  statusUrl: z.string().optional()
                })
              )
            })
            .optional(),
          exec: z
            .strictObject({
              commands: z.record(
                z.string(),
                z.strictObject({
                  /** Absolute program and fixed arguments; `{name}` stands for one argument that must match its pattern. */
                  argv: z.array(z.string()).min(1),
                  parameters: z.record(z.string(), z.string()).default({}),
                  targets: z.array(z.string()).min(1),
                  class: z.enum(['convergent', 'opaque']).default('opaque'),
                  timeout: durationSchema.prefault('30s')
                })
              )
            })
            .optional()
        })
        .prefault({}),
      /**
       * Ed25519 public keys (PEM files) whose commands are believed; several while a key is replaced. The key of a control role in the
       * same process is believed besides. Absent: the key below dataDir.
       */
      verificationKeyFiles: z.array(z.string()).min(1).optional(),
      /** Hosts that http checks may ask beside this machine. */
      probeHosts: z.array(z.string()).default([]),
      escalation: escalationSchema
    })
    .prefault({}),
  train: z
    .strictObject({
      horizon: durationSchema.prefault('5m'),
      window: durationSchema.prefault('5m'),
      heldOut: ratio.default(0.3),
      epochs: z.number().int().min(1).default(30)
    })
    .prefault({}),
  /** Where a process without the console answers probes (/livez, /readyz, /metrics); the console answers them on its own port. */
  health: z.strictObject({ listen: address.prefault({ port: 8687 }) }).prefault({}),
  console: z.strictObject({ listen: address.prefault({ port: 8686 }), tokens: z.array(secret).default([]) }).prefault({}),
  self: z
    .strictObject({
      /** Where Homeostat's own metrics go (OTLP/gRPC); absent: into the intake of the same process, else nowhere. `off` sends none. */
      endpoint: z.string().optional(),
      /** Bearer token for `endpoint`; our own intake is given one of its own. */
      token: secret.optional(),
      interval: durationSchema.prefault('10s'),
      /** Metrics of this machine beside Homeostat's own: from the process that has the role intake, since once a machine is enough. */
      hostMetrics: z.boolean().default(true),
      logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info')
    })
    .prefault({})
})

/** What a user writes. */
export type ConfigInput = z.input<typeof configSchema>
/** What the code reads: defaults filled in, durations in ms. */
export type Config = z.output<typeof configSchema>

/** Every environment of the configuration, its own first, each once. */
export function environmentsOf({ environment, environments }: Pick<Config, 'environment' | 'environments'>): string[] {
  return [...new Set([environment, ...environments])]
}
