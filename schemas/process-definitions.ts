// The file that lists which local processes the `process` driver may act on, and how they are started.
//
// Everything that is executed stands here, written by the operator: a command names an entry and adds nothing to it.

import { z } from 'zod'
import { durationSchema } from './yaml-values.ts'

const environmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'the name of an environment variable')

/**
 * What the kernel lets a process have; inherited by what it starts, and counted for each process on its own (getrlimit(2)). For a tree as
 * a whole there are control groups only: make it a systemd unit with MemoryMax and TasksMax.
 */
const limitsSchema = z.strictObject({
  /**
   * Private writable memory of each process (RLIMIT_DATA). Beyond it allocations fail, which most programs do not survive. It is what the
   * process asked for rather than what is resident: Node.js asks for 550 MiB before its first line, so limit its heap by `env` beside this.
   */
  memoryBytes: z.number().int().min(1).optional(),
  /** Open file descriptors of each process (RLIMIT_NOFILE). */
  openFiles: z.number().int().min(1).optional(),
  /** Processes and threads of the *user* that it runs as, all programs of that user together (RLIMIT_NPROC); root is not limited. */
  userProcesses: z.number().int().min(1).optional(),
  /** Variables in place of those of the definition: limits that the program keeps itself, such as NODE_OPTIONS: --max-old-space-size=64. */
  env: z.record(environmentName, z.string()).default({})
})
export type ProcessLimits = z.output<typeof limitsSchema>

export const processDefinitionSchema = z.strictObject({
  /** Program (absolute path) and arguments, executed as they are: no shell. */
  argv: z
    .array(z.string())
    .min(1)
    .refine(argv => argv[0]?.startsWith('/') === true, 'the program must be an absolute path'),
  /** Entity whose telemetry this process sends: a command for the entity then finds it without naming the process. */
  entity: z.string().optional(),
  /** Default: the folder of Homeostat's run files. */
  cwd: z.string().optional(),
  /** Beside these the process gets PATH, HOME, USER, LANG, TZ, TMPDIR and what `passEnv` names; nothing else of ours. */
  env: z.record(environmentName, z.string()).default({}),
  passEnv: z.array(environmentName).default([]),
  /** Output is appended here; default `<name>.log` beside the run files. Turned over when it is large at a start. */
  logFile: z.string().optional(),
  /** By the name that `start` and `restart` may give as `limits`; `default` is for those that give none. */
  limits: z.record(z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'a name of at most 63 lower-case letters, digits and dashes'), limitsSchema).default({}),
  /** What the process has after SIGTERM before SIGKILL. */
  grace: durationSchema.prefault('5s')
})
export type ProcessDefinition = z.output<typeof processDefinitionSchema>

export const processDefinitionsSchema = z.strictObject({
  apiVersion: z.literal('homeostat.io/v1'),
  kind: z.literal('ProcessDefinitions'),
  processes: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'a name of at most 63 letters, digits, dots and dashes'), processDefinitionSchema)
})
export type ProcessDefinitions = z.output<typeof processDefinitionsSchema>
