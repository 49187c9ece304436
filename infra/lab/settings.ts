// Homeostat's settings in the lab: fast ones, seconds where the defaults are minutes, alike for one process and for a cluster of roles.

import { join } from 'node:path'
import type { ConfigInput } from '../../schemas/config.ts'
import { type LabLayout, SERVICES } from './layout.ts'

const RESTORE_TOOL = join(import.meta.dirname, 'tools', 'restore.ts')
const WARMUP_POINTS = 40

/** From the first point on until baselines may raise anomalies: a point a second, and some for late series. */
export const WARMUP_MS = (WARMUP_POINTS + 10) * 1_000

/** What the roles share; `rulesFolder` has the run's policies and runbooks. */
export function fastSettings(rulesFolder: string): Pick<ConfigInput, 'apiVersion' | 'kind' | 'store' | 'detect' | 'diagnose' | 'train'> & {
  decide: NonNullable<ConfigInput['decide']>
} {
  return {
    apiVersion: 'homeostat.io/v1',
    kind: 'Homeostat',
    store: { batchInterval: '500ms' },
    detect: {
      window: '1s',
      lateness: '1s',
      warmupPoints: WARMUP_POINTS,
      enterPoints: 3,
      absenceMin: '5s',
      checkpointInterval: '2s'
    },
    diagnose: { groupWindow: '20s', resolveAfter: '5s' },
    decide: { policiesDir: join(rulesFolder, 'policies'), runbooksDir: join(rulesFolder, 'runbooks'), commandExpiry: '30s' },
    // Faults are seconds long here: what is to be foreseen lies seconds ahead.
    train: { horizon: '15s', window: '10s', heldOut: 0.4 }
  }
}

/** What the actuator of this fleet may touch: its processes, and the tool that restores their files. */
export function actSettings({ folder }: LabLayout): NonNullable<ConfigInput['act']> {
  return {
    probeHosts: ['127.0.0.1'],
    drivers: {
      process: { definitionsFile: join(folder, 'processes.yaml') },
      exec: {
        commands: Object.fromEntries(
          (['config', 'cache'] as const).map(what => [
            `restore-${what}`,
            {
              argv: [process.execPath, '--disable-warning=ExperimentalWarning', RESTORE_TOOL, what, '{service}', folder],
              parameters: { service: `^(${SERVICES.join('|')})$` },
              targets: [...SERVICES],
              class: 'convergent' as const,
              timeout: '10s'
            }
          ])
        )
      }
    }
  }
}

/** `127.0.0.1:4317` as the configuration takes it. */
export function listenAt(hostPort: string): { host: string; port: number } {
  const [host, port] = hostPort.split(':')
  return { host: host!, port: Number(port) }
}
