// The lab's policies, runbooks and process definitions: templates of this folder, written out once for each service.
//
// A template's `${service}`, `${entity}` and `${port}` (where it answers /healthz) are those of the service. Beside that they are ordinary policies
// and runbooks, as a user writes them.

import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { definitionsOf, healthPort } from './fleet.ts'
import { entityOf, type LabLayout, SERVICES, type ServiceName } from './layout.ts'

/** Writes FOLDER/policies, FOLDER/runbooks and FOLDER/processes.yaml. */
export function renderRules(layout: LabLayout): void {
  for (const kind of ['policies', 'runbooks']) {
    mkdirSync(join(layout.folder, kind), { recursive: true })
    for (const file of globSync(join(import.meta.dirname, kind, '*.yaml'))) {
      const template = readFileSync(file, 'utf8')
      for (const service of SERVICES) writeFileSync(join(layout.folder, kind, `${service}-${basename(file)}`), filled(template, layout, service))
    }
  }
  const definitions = definitionsOf(layout.folder)
  const processes = Object.fromEntries(SERVICES.map(service => [service, { ...definitions[service]!, grace: `${definitions[service]!.grace}ms` }]))
  writeFileSync(join(layout.folder, 'processes.yaml'), JSON.stringify({ apiVersion: 'homeostat.io/v1', kind: 'ProcessDefinitions', processes }, null, 2))
}

function filled(template: string, layout: LabLayout, service: ServiceName): string {
  const values: Readonly<Record<string, string>> = { service, entity: entityOf(service), port: String(healthPort(layout, service)) }
  return template.replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole)
}
