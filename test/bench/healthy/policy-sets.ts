// Policies that may act on the healthy fleet: every one that is shipped, at level `auto`, and one that acts on whatever it is told.
//
//   lab             infra/lab/policies, once for each service: the quickest that are shipped, seconds from incident to act
//   starter         what `homeostat init` writes
//   <an example>    each file of actuators/runbooks
//   eager           any incident, at once, by one runbook that answers every signature
//
// Starter and examples are about one service; here each is about all. A set is judged by itself, since of several policies that match
// the first decides.

import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { PolicyFile } from '../../../actuators/decide/policy-documents.ts'
import { loadPolicySet, type PolicySet } from '../../../actuators/decide/policy-file.ts'
import { filledRules } from '../../../infra/lab/rules.ts'
import { initFiles } from '../../../pipeline/cli/init.ts'
import { causeSchema } from '../../../schemas/incident.ts'
import { formatProblem } from '../../../schemas/yaml.ts'
import { ENVIRONMENT } from './points.ts'
import { SERVICE_NAMES } from './scenario.ts'

export interface NamedPolicySet {
  name: string
  set: PolicySet
}

const EXAMPLES = join(import.meta.dirname, '../../../actuators/runbooks')
const ONE_SERVICE = /cause\.service == "[^"]*"/g
const ANY_SERVICE = `incident.environment == "${ENVIRONMENT}"`
const EAGER = `apiVersion: homeostat.io/v1
kind: Policy
metadata: { name: eager }
spec:
  match: ${ANY_SERVICE}
  runbooks: [eager]
  autonomy: auto
  evidence: { causeScoreMin: 0 }
  blastRadius: { concurrentMax: 100 }
---
apiVersion: homeostat.io/v1
kind: Runbook
metadata: { name: eager }
spec:
  risk: low
  signatures: [${causeSchema.shape.signature.options.join(', ')}]
  steps:
    - name: restart
      action: { driver: process, verb: restart }
      verify: { checks: [{ name: running, type: state, driver: process, expect: facts.state == "running" }] }
`

/** @throws Error when one does not load, is not at level `auto`, or is about no single service */
export function policySets(): NamedPolicySet[] {
  const labFiles = SERVICE_NAMES.flatMap(service =>
    filledRules({ service, name: service, environment: ENVIRONMENT, entity: `shop/${service}@${service}-1`, port: '80' }).map(({ kind, file, text }) => ({
      file: `${kind}/${service}-${file}`,
      text
    }))
  )
  return [
    loaded('lab', labFiles),
    loaded('starter', starterFiles().map(armed)),
    ...yamlFiles(EXAMPLES).map(example => loaded(basename(example.file, '.yaml'), [armed(example)])),
    loaded('eager', [{ file: 'eager.yaml', text: EAGER }])
  ]
}

function loaded(name: string, files: readonly PolicyFile[]): NamedPolicySet {
  const read = loadPolicySet(files)
  if (!read.ok) throw new Error(read.problems.map(problem => formatProblem(problem, '')).join('\n'))
  const tame = read.set.policies.find(({ spec }) => spec.autonomy !== 'auto')
  if (tame !== undefined) throw new Error(`${name}: ${tame.name} is at level ${tame.spec.autonomy}, it could not act`)
  return { name, set: read.set }
}

function armed({ file, text }: PolicyFile): PolicyFile {
  if (text.includes('kind: Policy\n') && text.search(ONE_SERVICE) === -1) throw new Error(`${file}: its policy does not say cause.service == "…"`)
  return { file, text: text.replaceAll(ONE_SERVICE, ANY_SERVICE).replaceAll(/autonomy: \w+/g, 'autonomy: auto') }
}

function starterFiles(): PolicyFile[] {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-starter-'))
  try {
    initFiles(folder, false)
    return ['policies', 'runbooks'].flatMap(kind => yamlFiles(join(folder, kind)))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Cases beside the policies are left out. */
function yamlFiles(folder: string): PolicyFile[] {
  return globSync('*.yaml', { cwd: folder })
    .filter(name => !name.endsWith('.test.yaml'))
    .sort()
    .map(name => ({ file: join(folder, name), text: readFileSync(join(folder, name), 'utf8') }))
}
