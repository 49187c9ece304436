// The processes of a world: control (diagnose and decide, as the product's control role) and act, with the project's own code
// and simulated ports. A machine starts the next process when one has died.

import { actWorker } from '../../actuators/execute/executor.ts'
import { decideWorker } from '../../actuators/decide/worker.ts'
import { diagnoseWorker } from '../../detectors/diagnose/worker.ts'
import { checkpointStore } from '../../pipeline/log/checkpoint-store.ts'
import { AppError } from '../../schemas/errors.ts'
import type { CheckpointStore, Driver, Escalation, Logger, Meter, Page } from '../../schemas/ports.ts'
import type { Checker } from './checker.ts'
import { ENVIRONMENT } from './checker.ts'
import type { Ledgers } from './ledgers.ts'
import type { Marks } from './marks.ts'
import type { Mutant } from './mutants/mutant.ts'
import type { SimPolicy } from './policies.ts'
import { SimProcess, type Skew } from './process.ts'
import type { SimLog } from './sim-log.ts'
import { signer, verifier } from './signing.ts'
import { stream } from './streams.ts'
import type { Settings } from './swarm.ts'
import { simDriver, simSignals, type Targets } from './targets.ts'
import type { Timeline } from './timeline.ts'
import type { Trace } from './trace.ts'

/** Probabilities of now: all zero once the world heals. */
export interface Weights {
  crash: number
  pause: number
  append: number
  redeliver: number
  reorder: number
  delay: number
  disk: number
  driver: number
  signals: number
  pages: number
}

export interface NodesOptions {
  settings: Settings
  timeline: Timeline
  trace: Trace
  log: SimLog
  targets: Targets
  ledgers: Ledgers
  checker: Checker
  marks: Marks
  weights: Weights
  mutant: Mutant
  policy: () => SimPolicy
}

export interface Machine {
  name: string
  role: 'control' | 'act'
  skew: Skew
  process: SimProcess | undefined
  starts: number
  /** Of control: other policies. */
  usePolicies: ((policy: SimPolicy) => Promise<void>) | undefined
}

const SESSION_MS = 10_000
const HESITATES = 0.3
const HESITATION_MS_MIN = 130_000 // About what decide waits for an outcome here.
const DECIDE_CONFIG = { commandExpiry: 20_000, policiesDir: undefined, runbooksDir: undefined, signingKeyFile: undefined } as never
const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }

/** What its own metrics say that the world wants to know. */
const MARK_OF_COUNT: Readonly<Record<string, string>> = {
  'homeostat.act.commands.elsewhere': 'command of another ledger left alone',
  'homeostat.act.ledger.ambiguous': 'ambiguous effect',
  'homeostat.decide.fenced': 'state worker fenced',
  'homeostat.diagnose.fenced': 'state worker fenced'
}

export class Nodes {
  readonly machines: Machine[] = []
  readonly pages: Page[] = []
  readonly #options: NodesOptions
  readonly #chance
  #starts = 0

  constructor(options: NodesOptions) {
    this.#options = options
    this.#chance = stream(options.settings.seed, 'nodes')
    const { settings } = options
    const skews = stream(settings.seed, 'clock')
    const add = (role: Machine['role'], index: number): void => {
      const isOff = settings.faults.clock !== undefined
      const skew = { offsetMs: isOff ? Math.round(skews.between(-2_000, 2_000)) : 0, rate: isOff ? 1 + skews.between(-5e-4, 5e-4) : 1 }
      this.machines.push({ name: `${role}-${index}`, role, skew, process: undefined, starts: 0, usePolicies: undefined })
    }
    for (let index = 0; index < settings.controls; index++) add('control', index)
    for (let index = 0; index < settings.actuators; index++) add('act', index)
  }

  start(machine: Machine): void {
    const { timeline, trace, weights } = this.#options
    const process = new SimProcess(`${machine.name}#${++machine.starts}`, timeline, machine.skew)
    machine.process = process
    this.#starts++
    process.onDeath = where => this.#died(machine, process, where)
    const chance = stream(this.#options.settings.seed, `crash ${process.name}`)
    if (weights.crash > 0) process.crashIn = Math.ceil(chance.between(0, 1) ** 2 * (400 / weights.crash))
    trace.add(timeline.nowMs, `${process.name} starts`)
    const running = machine.role === 'control' ? this.#control(machine, process) : this.#act(machine, process)
    running.catch(error => {
      if (!process.isAlive) return
      if (error instanceof AppError && error.retriable) process.kill(`exit: ${error.message}`)
      else this.#options.checker.fail('0 no bug', `${process.name}: ${error instanceof Error ? error.stack : String(error)}`)
    })
  }

  /** SIGSTOP for a time, past the session or not. */
  stop(machine: Machine, forMs: number): void {
    const { timeline, trace, log, marks } = this.#options
    const { process } = machine
    if (process === undefined || !process.isAlive || process.isStopped) return
    trace.add(timeline.nowMs, `${process.name} is stopped for ${Math.round(forMs)} ms`)
    process.stop()
    let isOut = false
    timeline.after(SESSION_MS, () => {
      if (!process.isAlive || !process.isStopped || forMs <= SESSION_MS) return
      isOut = true
      log.expel(process)
    })
    timeline.after(forMs, () => {
      if (!process.isAlive) return
      trace.add(timeline.nowMs, `${process.name} goes on`)
      process.resume()
      if (!isOut) return
      marks.reach('session lost and regained')
      timeline.after(this.#chance.between(0, 3_000), () => log.rejoin(process))
    })
  }

  #died(machine: Machine, process: SimProcess, where: string): void {
    const { timeline, trace, log, marks, weights } = this.#options
    trace.add(timeline.nowMs, `${process.name} dies ${where}`)
    if (where.endsWith('apply')) marks.reach('crash between begun and its result')
    const healed = weights.crash === 0
    timeline.after(healed ? 1_000 : this.#chance.between(100, SESSION_MS), () => log.expel(process))
    timeline.after(healed ? 500 : this.#chance.between(200, 15_000), () => this.start(machine))
  }

  #ports(process: SimProcess) {
    const { settings, log, weights, mutant, timeline, checker } = this.#options
    const { seed } = settings
    const faults = live(weights, stream(seed, `net ${process.name}`))
    const port = log.of(process, faults)
    const seen = checker.log.watch(mutant.brokenLog?.(port) ?? port)
    return {
      clock: process.clock,
      logger: quiet,
      meter: this.#meter(),
      log: mutant.log?.(seen, { process, timeline }) ?? seen,
      random: stream(seed, `random ${process.name}`)
    }
  }

  async #control(machine: Machine, process: SimProcess): Promise<void> {
    const { mutant, policy, weights, settings } = this.#options
    const ports = this.#ports(process)
    const checkpoints = this.#watched(process, checkpointStore(ports.log))
    const shared = { ...ports, checkpoints: mutant.checkpoints?.(checkpoints) ?? checkpoints }
    const diagnose = diagnoseWorker({ ...shared, config: { groupWindow: 15_000, resolveAfter: 8_000 } })
    const policiesOf = (from: SimPolicy) => mutant.policies?.(from.set) ?? from.set
    const decide = decideWorker({
      ...shared,
      config: DECIDE_CONFIG,
      policies: policiesOf(policy()),
      environments: [ENVIRONMENT],
      sign: command => signer.sign(mutant.unsigned?.(command) ?? command),
      escalations: { default: this.#escalation(process, live(weights, stream(settings.seed, `pages ${process.name}`))) }
    })
    machine.usePolicies = changed => decide.usePolicies(policiesOf(changed))
    await diagnose.start()
    await decide.start()
    await Promise.race([diagnose.finished(), decide.finished()])
  }

  async #act(machine: Machine, process: SimProcess): Promise<void> {
    const { mutant, weights, settings, targets, timeline, ledgers, checker, marks } = this.#options
    const { seed, driverClass } = settings
    const store = ledgers.of(machine.name, process, live(weights, stream(seed, `disk ${process.name}`)), puts => checker.onCommit(process, puts))
    const network = live(weights, stream(seed, `driver ${process.name}`))
    const driver = this.#hesitant(machine, process, simDriver(targets, timeline, process, driverClass, network, checker, mutant.comparesFence ?? true))
    const signals = simSignals(targets, timeline, process, ENVIRONMENT, live(weights, stream(seed, `signals ${process.name}`)))
    const ports = this.#ports(process)
    const worker = actWorker({
      ...ports,
      clock: mutant.actClock?.(ports.clock) ?? ports.clock,
      ledger: mutant.ledger?.(store, { process }) ?? store,
      drivers: { sim: mutant.driver?.(driver) ?? driver },
      verifier: mutant.verifier?.(verifier) ?? verifier,
      signals: mutant.signals?.(signals, ports.clock) ?? signals,
      probe: async () => ({ status: 200 }),
      tcpProbe: async () => {},
      escalations: { default: this.#escalation(process, live(weights, stream(seed, `pages ${process.name}`))) },
      config: { concurrencyMax: 4 },
      environment: ENVIRONMENT
    })
    marks.reach('actuator started')
    await worker.start()
    await worker.finished
  }

  /** In long worlds a process is sometimes stopped between the durable `begun` and the act. */
  #hesitant(machine: Machine, process: SimProcess, driver: Driver): Driver {
    const { settings, weights } = this.#options
    const chance = stream(settings.seed, `hesitate ${process.name}`)
    const stop = (forMs: number): void => this.stop(machine, forMs)
    if (!settings.isLong || settings.faults.pause === undefined) return driver
    return {
      ...driver,
      apply(order, signal) {
        if (weights.pause > 0 && chance.chance(HESITATES)) stop(chance.between(HESITATION_MS_MIN, 2 * HESITATION_MS_MIN))
        return driver.apply(order, signal)
      }
    }
  }

  #escalation(process: SimProcess, faults: ReturnType<typeof live>): Escalation {
    return {
      notify: page =>
        process.call('page', async () => {
          if (faults.disturb.chance(faults.pages)) throw new AppError('escalation_failed', 'nobody is there')
          this.pages.push(page)
        })
    }
  }

  #watched(process: SimProcess, store: CheckpointStore): CheckpointStore {
    const { checker } = this.#options
    return {
      ...store,
      save: async (name, checkpoint, owner) => {
        checker.checkpoints.onSaving(name, checkpoint)
        await store.save(name, checkpoint, owner)
        checker.checkpoints.onSaved(name, checkpoint)
        checker.onSaved(process, name, checkpoint.positions)
      },
      load: async name => {
        const before = checker.checkpoints.restorable(name)
        const checkpoint = await store.load(name)
        if (checkpoint === undefined) return undefined
        checker.checkpoints.onRestored(name, checkpoint, before)
        checker.onSaved(process, name, checkpoint.positions)
        return checkpoint
      }
    }
  }

  #meter(): Meter {
    const { marks } = this.#options
    return {
      count(name) {
        const mark = MARK_OF_COUNT[name]
        if (mark !== undefined) marks.reach(mark)
      },
      gauge() {}
    }
  }
}

/** The weights of now, with a stream of their own. */
function live(weights: Weights, disturb: ReturnType<typeof stream>) {
  return {
    disturb,
    get append() {
      return weights.append
    },
    get redeliver() {
      return weights.redeliver
    },
    get reorder() {
      return weights.reorder
    },
    get delay() {
      return weights.delay
    },
    get disk() {
      return weights.disk
    },
    get driver() {
      return weights.driver
    },
    get signals() {
      return weights.signals
    },
    get pages() {
      return weights.pages
    }
  }
}
