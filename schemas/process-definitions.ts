// The file that lists which local processes the `process` driver may start, stop and restart, and how.
//
// Everything that is executed stands here, written by the operator: a command names an entry and adds nothing to it.

import { z } from 'zod'
import { durationSchema } from './runbook.ts'

const environmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a name of an environment variable')

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
  /** What the process has after SIGTERM before SIGKILL. */
  grace: durationSchema.prefault('5s')
})
export type ProcessDefinition = z.output<typeof processDefinitionSchema>

export const processDefinitionsSchema = z.strictObject({
  apiVersion: z.literal('homeostat.io/v1'),
  kind: z.literal('ProcessDefinitions'),
  processes: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'letters, digits, dots, dashes, at most 63'), processDefinitionSchema)
})
export type ProcessDefinitions = z.output<typeof processDefinitionsSchema>
