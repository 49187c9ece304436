// The lab's policies, runbooks and process definitions: templates of this folder, written out once for each service.
//
// A template's `${service}`, `${name}` (the service, unlike in other environments), `${environment}`, `${entity}` and `${port}` (where it answers
// /healthz) are those of the service. Beside that they are ordinary policies and runbooks, as a user writes them.

import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { definitionsOf, healthPort } from './fleet.ts'
import { ENVIRONMENTS, entityOf, type LabLayout, SERVICES, type ServiceName } from './layout.ts'

/** Writes FOLDER/policies and FOLDER/runbooks with the rules of every fleet, and processes.yaml into each fleet's own folder. */
export function renderRules(folder: string, fleets: readonly LabLayout[]): void {
  for (const kind of ['policies', 'runbooks']) {
    mkdirSync(join(folder, kind), { recursive: true })
    for (const file of globSync(join(import.meta.dirname, kind, '*.yaml'))) {
      const template = readFileSync(file, 'utf8')
      for (const layout of fleets)
        for (const service of SERVICES) writeFileSync(join(folder, kind, `${nameOf(layout, service)}-${basename(file)}`), filled(template, layout, service))
    }
  }
  for (const layout of fleets) {
    const definitions = definitionsOf(layout)
    const processes = Object.fromEntries(SERVICES.map(service => [service, { ...definitions[service]!, grace: `${definitions[service]!.grace}ms` }]))
    const file = { apiVersion: 'homeostat.io/v1', kind: 'ProcessDefinitions', processes }
    writeFileSync(join(layout.folder, 'processes.yaml'), JSON.stringify(file, null, 2))
  }
}

/** Policies and runbooks are named once in the whole run: those of the first environment by the service alone. */
function nameOf({ environment }: LabLayout, service: ServiceName): string {
  return environment === ENVIRONMENTS[0] ? service : `${environment}-${service}`
}

function filled(template: string, layout: LabLayout, service: ServiceName): string {
  const { environment } = layout
  const port = String(healthPort(layout, service))
  const values: Readonly<Record<string, string>> = { service, name: nameOf(layout, service), environment, entity: entityOf(service), port }
  return template.replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole)
}
