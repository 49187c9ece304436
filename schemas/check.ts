// Checks of a runbook's step: what is looked at to know whether it helped, or whether it may begin.

import { z } from 'zod'
import { durationSchema, nameSchema as name } from './yaml-values.ts'

const expression = z.string().min(1)
const checkName = name.describe('Unique within the step.')
const answerTimeout = durationSchema.prefault('2s').describe('No answer within it is a failure.')

const metricCheck = z
  .strictObject({
    name: checkName,
    type: z.literal('metric').describe('A value from stored telemetry, never from an alert.'),
    entity: z.string().optional().describe('`namespace/service@instance` whose telemetry is read. Default: the target of the command.'),
    metric: z.string().describe('Name of the metric, as its sender wrote it.'),
    attributes: z.record(z.string(), z.string()).default({}).describe('Attributes that a point must have.'),
    aggregate: z
      .enum(['last', 'mean', 'max', 'min', 'p95', 'sum', 'count'])
      .default('mean')
      .describe('How the samples of the window become one value. Counters are read as differences.'),
    window: durationSchema.describe('How far back samples are taken, at most to the act.'),
    minSamples: z.number().int().min(1).default(3).describe('Fewer samples than this is inconclusive, never healed.'),
    expect: expression.describe('CEL over `value`, `samples`, `before` (the same aggregate before the onset; null if unknown), `incident`, `cause`, `target`.')
  })
  .describe('A metric check.')
const httpCheck = z
  .strictObject({
    name: checkName,
    type: z.literal('http').describe('One GET, redirects are not followed. This machine, and the hosts of `act.probeHosts`.'),
    url: z.string().describe('What is asked.'),
    status: z.number().int().default(200).describe('The answer that passes.'),
    timeout: answerTimeout
  })
  .describe('An HTTP check.')
const stateCheck = z
  .strictObject({
    name: checkName,
    type: z.literal('state').describe('What a driver knows of a target.'),
    driver: z.string().describe('A driver of `act.drivers`.'),
    target: z.string().optional().describe("As the driver names it. Default: the step's own target."),
    expect: expression.describe("CEL over `facts` (the driver's, and `facts.state`), `incident`, `cause`, `target`.")
  })
  .describe('A state check.')
const tcpCheck = z
  .strictObject({
    name: checkName,
    type: z.literal('tcp').describe('One connection. This machine, and the hosts of `act.probeHosts`.'),
    address: z
      .string()
      .regex(/^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$/, 'host:port')
      .describe('`host:port`.'),
    send: z.string().max(1_024).optional().describe('Sent once the connection stands.'),
    answer: z
      .string()
      .min(1)
      .max(1_024)
      .optional()
      .describe('Text that must come back. Absent: that the connection stands is enough, which a hung process still grants (its kernel accepts).'),
    timeout: answerTimeout
  })
  .describe('A TCP check.')
export const checkSchema = z.discriminatedUnion('type', [metricCheck, httpCheck, stateCheck, tcpCheck])
export type Check = z.infer<typeof checkSchema>
