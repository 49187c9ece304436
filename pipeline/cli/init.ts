// `homeostat init`: a commented starter configuration, with a first policy in observe mode, its runbook and its test cases beside it.

import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { AppError } from '../../schemas/errors.ts'
import { outputFolder, writeOutput } from './write-output.ts'

/** Writes the files. @returns their paths. @throws AppError `usage` rather than overwrite one without `force` */
export function initFiles(folder: string, force: boolean): string[] {
  const files: Readonly<Record<string, string>> = {
    'homeostat.yaml': CONFIG,
    'policies/first.yaml': schemaLine('policy') + POLICY,
    'policies/first.test.yaml': schemaLine('policy-test') + CASES,
    'runbooks/restart-web.yaml': schemaLine('runbook') + RUNBOOK,
    'processes.yaml': PROCESSES
  }
  const paths = Object.keys(files).map(name => join(resolve(folder), name))
  const present = paths.filter(path => existsSync(path))
  if (present.length > 0 && !force) throw new AppError('usage', `${present.join(', ')} would be overwritten: remove it, choose another folder, or say --force`)
  for (const [name, text] of Object.entries(files)) {
    const path = join(resolve(folder), name)
    outputFolder('folder', dirname(path))
    writeOutput('folder', path, text)
  }
  return paths
}

/** Editors that speak the YAML language server complete and check by it. */
function schemaLine(kind: string): string {
  return `# yaml-language-server: $schema=${join(import.meta.dirname, '../../infra/docs/json-schema', `${kind}.json`)}\n`
}

const CONFIG = `# Homeostat. Every key but apiVersion and kind is optional, and most show their default; \`\${VAR:-default}\` and HOMEOSTAT_SECTION__KEY override.
apiVersion: homeostat.io/v1
kind: Homeostat

dataDir: .homeostat            # embedded log, ClickHouse, ledger, keys
environment: local             # of telemetry that does not say its own, and of this actuator

intake:
  grpc: { host: 127.0.0.1, port: 4317 }
  http: { host: 127.0.0.1, port: 4318 }
  # tokens: [env:HOMEOSTAT_TOKEN]            # senders must then present one as a bearer token
  # tls: { certFile: tls.crt, keyFile: tls.key }
  # fallbackEntity: edge-1                   # name for telemetry without a resource; default: the sender's address

detect:
  window: 10s                  # of rates derived from spans and logs; export your metrics at least this often
  warmupPoints: 60             # points before a series may raise an anomaly
  falseAlarmsPerSeriesDay: 0.001
  # rules:
  #   - { name: disk-nearly-full, metric: system.filesystem.utilization, above: 0.9, recover: 0.85, for: 1m, severity: critical }

decide:
  policiesDir: policies        # when may what be done; starts in autonomy: observe
  runbooksDir: runbooks        # what is done, and how it is checked

act:
  drivers:
    process: { definitionsFile: processes.yaml }
    # systemd: { units: [web.service], verbs: [restart] }
    # http: { endpoints: { drain: { method: POST, url: "http://127.0.0.1:9000/drain" } } }
  # escalation:                              # who is called when automation asks, gives up or stays blocked
  #   channels: { default: { kind: webhook, url: "https://example.org/hook", secret: env:HOOK_SECRET } }

store:
  # url: http://127.0.0.1:8123 # a ClickHouse server; absent: the engine runs inside this process
  telemetryTtlDays: 7

console:
  listen: { host: 127.0.0.1, port: 8686 }

# Several processes (\`homeostat start --role …\`), each with a dataDir of its own:
# log: { kind: kafka }
# kafka: { brokers: ["127.0.0.1:9092"] }
# health: { listen: { host: 127.0.0.1, port: 8687 } }   # /livez, /readyz and /metrics of a process without the console
`

const POLICY = `# A policy says when which runbooks may run. It starts in observe: every decision is recorded, nothing is done.
# Then raise autonomy step by step: observe → suggest → approve → auto.
apiVersion: homeostat.io/v1
kind: Policy
metadata:
  name: first
  description: Restart the web process when it is silent or fails.
spec:
  match: cause.service == "web" && cause.signature in ["silent", "errors"]
  runbooks: [restart-web]
  autonomy: observe
  cooldown: { initial: 60s, factor: 2, max: 1h, jitter: 0.1 }
  attempts: { max: 3, window: 1h }
  # maintenanceWindows: [{ schedule: "0 2 * * 6", duration: 2h, timezone: Europe/Berlin }]
`

const CASES = `# What the policy must decide: \`homeostat policies test\`. A case asks at a level of its own: what will it do once it is raised?
apiVersion: homeostat.io/v1
kind: PolicyTest
metadata: { name: first }
spec:
  cases:
    - name: in observe it only records
      given:
        incident: { entity: shop/web@web-1, signature: silent }
      expect: { outcome: would_act, policy: first, runbook: restart-web, blockedBy: [autonomy] }
    - name: once it is raised, a silent web server is restarted
      given:
        autonomy: auto
        incident: { entity: shop/web@web-1, signature: silent }
      expect: { outcome: act }
    - name: a second attempt waits for the cooldown
      given:
        autonomy: auto
        incident: { entity: shop/web@web-1, signature: errors }
        history: [{ runbook: restart-web, verdict: ineffective, ago: 30s }]
      expect: { outcome: blocked, blockedBy: [cooldown], attempt: 2 }
`

const RUNBOOK = `# A runbook says what is done, how it is checked, and how it is undone. Steps run lightest first.
apiVersion: homeostat.io/v1
kind: Runbook
metadata:
  name: restart-web
  description: Restart the web process and see that it serves again.
spec:
  risk: low                    # from medium on missing telemetry stops it
  signatures: [silent, errors]
  steps:
    - name: restart
      action: { driver: process, verb: restart, target: web }
      settle: 3s
      verify:
        deadline: 60s
        holdFor: 10s
        checks:
          - { name: serving, type: http, url: "http://127.0.0.1:8080/healthz" }
`

const PROCESSES = `# Local processes that the process driver may start, stop and restart: nothing else can be touched.
apiVersion: homeostat.io/v1
kind: ProcessDefinitions
processes:
  web:
    argv: [/usr/bin/python3, -m, http.server, "8080", --bind, 127.0.0.1]
`
