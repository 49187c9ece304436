// The console on a log of the test's own: real live view and server, and stand-ins for store, detectors, training and probes.

import { overviewOf } from '../../detectors/score/explain.ts'
import { type LiveView, openLiveView } from '../../pipeline/console/live-view.ts'
import { type ConsoleServer, openConsole } from '../../pipeline/console/server.ts'
import { systemClock } from '../../pipeline/system.ts'
import type { Log } from '../../schemas/ports.ts'
import { aHealth } from './health.ts'
import { quiet } from './quiet.ts'

export interface TestConsole extends ConsoleServer {
  view: LiveView
}

/** @param tokens none: open to all */
export async function openTestConsole(log: Log, { tokens = [], isReady }: { tokens?: readonly string[]; isReady: boolean }): Promise<TestConsole> {
  const shared = { log, clock: systemClock, logger: quiet }
  const view = await openLiveView(shared)
  const server = await openConsole({
    ...shared,
    listen: { host: '127.0.0.1', port: 0 },
    tokens,
    view,
    signals: { series: async () => [{ atMs: 1, value: 2 }], logs: async () => [], spans: async () => [] },
    explain: ({ incident }) => [`because ${incident.title}`],
    matchProblem: match => (match === 'nonsense()' ? 'of no sense' : undefined),
    sql: async query => [{ query }],
    detectors: {
      explain: async entity => ({ from: 'process', asOfMs: 5_000, series: [], entities: [anEntity(entity)] }),
      overview: async () => ({ ...overviewOf([], { memoryMax: 2 ** 20, seriesRefused: 0 }), from: 'process', asOfMs: 5_000 })
    },
    probes: {
      health: async () => aHealth({ ready: isReady }),
      live: async () => ({ ok: true, checks: [] }),
      readings: () => [{ name: 'homeostat.seen', kind: 'counter', attributes: { door: 'grpc' }, value: 3 }]
    },
    train: async () => ({})
  })
  return {
    address: server.address,
    view,
    async close() {
      await server.close()
      await view.close()
    }
  }
}

const anEntity = (entity: string) => ({
  entity,
  environment: 'lab',
  series: 0,
  lastSeenMs: 0,
  usualGapMs: 0,
  absentAfterMs: null,
  absentSinceMs: null,
  model: null
})
