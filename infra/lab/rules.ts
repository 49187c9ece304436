// The lab's policies, runbooks and process definitions: templates of this folder, written out once for each service.
//
// A template's `${service}`, `${name}` (the service, unlike in other environments), `${environment}`, `${entity}` and `${port}` (where it answers
// /healthz) are those of the service. Beside that they are ordinary policies and runbooks, as a user writes them.

import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { definitionsOf, healthPort } from './fleet.ts'
import { ENVIRONMENTS, entityOf, type LabLayout, SERVICES, type ServiceName } from './layout.ts'

const KINDS = ['policies', 'runbooks'] as const

/** What the templates leave open. */
export interface RuleValues {
  service: string
  name: string
  environment: string
  entity: string
  port: string
}

/** Writes FOLDER/policies and FOLDER/runbooks with the rules of every fleet, and processes.yaml into each fleet's own folder. */
export function renderRules(folder: string, fleets: readonly LabLayout[]): void {
  for (const kind of KINDS) mkdirSync(join(folder, kind), { recursive: true })
  for (const layout of fleets) {
    for (const service of SERVICES) {
      const values = valuesOf(layout, service)
      for (const { kind, file, text } of filledRules(values)) writeFileSync(join(folder, kind, `${values.name}-${file}`), text)
    }
  }
  for (const layout of fleets) {
    const definitions = definitionsOf(layout)
    const processes = Object.fromEntries(SERVICES.map(service => [service, { ...definitions[service]!, grace: `${definitions[service]!.grace}ms` }]))
    const file = { apiVersion: 'homeostat.io/v1', kind: 'ProcessDefinitions', processes }
    writeFileSync(join(layout.folder, 'processes.yaml'), JSON.stringify(file, null, 2))
  }
}

/** The templates for one service. @returns where each belongs, and what it says */
export function filledRules(values: RuleValues): { kind: (typeof KINDS)[number]; file: string; text: string }[] {
  return KINDS.flatMap(kind =>
    globSync(join(import.meta.dirname, kind, '*.yaml')).map(path => ({ kind, file: basename(path), text: filled(readFileSync(path, 'utf8'), values) }))
  )
}

function filled(template: string, values: RuleValues): string {
  return template.replaceAll(/\$\{(\w+)\}/g, (whole, name) => values[name as keyof RuleValues] ?? whole)
}

/** Policies and runbooks are named once in the whole run: those of the first environment by the service alone. */
function nameOf({ environment }: LabLayout, service: ServiceName): string {
  return environment === ENVIRONMENTS[0] ? service : `${environment}-${service}`
}

function valuesOf(layout: LabLayout, service: ServiceName): RuleValues {
  const { environment } = layout
  return { service, name: nameOf(layout, service), environment, entity: entityOf(service), port: String(healthPort(layout, service)) }
}
