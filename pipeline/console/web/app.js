// The page: scorecard and canaries above, incidents on the left, the story of the chosen one on the right, pipeline health below.
//
// The chosen incident is in the URL, so that a link leads to it. Every record that arrives by the event stream refreshes
// what it touches; polling only covers what has no event (scorecard, health).

import { listen, post } from './api.js'
import { Canaries } from './canaries.js'
import { duration, moment } from './format.js'
import { useFresh, useTicks } from './fresh.js'
import { useEffect, useState } from './lib/hooks.js'
import htm from './lib/htm.js'
import { h, render } from './lib/preact.js'
import { Story } from './story.js'

const html = htm.bind(h)
const SCORECARD_REFRESH_MS = 5000
const HEALTH_REFRESH_MS = 2000
const IN_FORCE_SHOWN_MAX = 5

function App() {
  const [chosen, setChosen] = useState(new URLSearchParams(location.search).get('incident'))
  const [connected, setConnected] = useState(false)
  const [changed, setChanged] = useState(0)
  useEffect(() => listen(kind => kind !== 'anomaly' && setChanged(count => count + 1), setConnected), [])

  const incidents = useFresh('api/incidents?limit=100', [], [changed, connected])
  const controls = useFresh('api/controls', [], [changed, connected])
  const canaries = useFresh('api/canaries', [], [changed, connected])
  const shown = chosen ?? incidents[0]?.id ?? null
  const story = useFresh(shown && `api/incidents/${shown}`, null, [changed, connected])
  const scorecard = useFresh('api/scorecard', [], [useTicks(SCORECARD_REFRESH_MS)])
  const health = useFresh('api/health', null, [useTicks(HEALTH_REFRESH_MS)])

  const choose = id => {
    history.replaceState(null, '', `?incident=${id}`)
    setChosen(id)
  }
  return html`
    <${Header} health=${health} connected=${connected} controls=${controls} />
    <${InForce} controls=${controls} />
    <${Scorecard} rows=${scorecard} />
    <${Canaries} canaries=${canaries} controls=${controls} incidents=${incidents} choose=${choose} />
    <main>
      <${IncidentList} incidents=${incidents} shown=${shown} choose=${choose} />
      <section class="story" aria-label="Incident">
        ${story ? html`<${Story} key=${story.incident.id} story=${story} changed=${changed} />` : html`<${Nothing} chosen=${chosen} />`}
      </section>
    </main>
    <${Health} health=${health} />
  `
}

/** In place of a story: a link may lead to an incident that is not kept any more. */
function Nothing({ chosen }) {
  const said = chosen
    ? `Looking for incident ${chosen}. The console keeps the newest 500; older ones are in ClickHouse.`
    : 'No incident yet. What goes wrong next will be shown here, from the first signal to the verdict.'
  return html`<p class="empty">${said}</p>`
}

function Header({ health, connected, controls }) {
  const kill = controls.find(record => record.kind === 'kill_switch' && record.scope === 'global' && record.on)
  const give = (order, command) =>
    post('api/kill', { ...order, by: 'console' }).catch(error => alert(`This was not heard (${error.message}). It works without the console: ${command}`))
  const toggle = () => {
    if (kill) return give({ on: false }, 'homeostat kill --off')
    const typed = prompt('Stop all automation? No new action begins until you release it. Type STOP to confirm.')
    if (typed === 'STOP') give({ on: true, reason: 'pressed in the console' }, 'homeostat kill')
  }
  const state = !connected ? ['bad', 'connection lost'] : health?.ready ? ['good', 'ready'] : ['warn', 'not ready']
  return html`<header>
    <img src="icon.svg" alt="" width="28" height="28" />
    <h1>Homeostat</h1>
    <span class="environment">${health?.environment ?? ''}</span>
    <span class="state ${state[0]}" role="status"><i></i>${state[1]}</span>
    ${kill && html`<span class="state bad"><i></i>kill switch on since ${moment(kill.atMs)} (${kill.by})</span>`}
    <span class="spacer"></span>
    <button class=${kill ? '' : 'danger'} onClick=${toggle}>${kill ? 'Release kill switch' : 'Kill switch'}</button>
  </header>`
}

/** What holds automation back or changes its mind now, beside the global kill switch: one line each, nothing when there is nothing. */
function InForce({ controls }) {
  const nowMs = Date.now()
  const lines = controls.flatMap(record => {
    if (record.kind === 'kill_switch' && record.on && record.scope !== 'global')
      return [`kill switch of ${record.scope} on since ${moment(record.atMs)} (${record.by}) ${record.reason}`]
    if (record.kind === 'maintenance' && record.fromMs <= nowMs && nowMs < record.toMs)
      return [`maintenance until ${moment(record.toMs)} of ${record.match} (${record.by})`]
    if (record.kind === 'change' && record.fromMs <= nowMs && (record.toMs === null || nowMs < record.toMs))
      return [`${record.what} of ${record.target} by ${record.actor} since ${moment(record.fromMs)}`]
    return []
  })
  if (lines.length === 0) return null
  return html`<ul class="in-force" aria-label="In force">${lines.slice(0, IN_FORCE_SHOWN_MAX).map(line => html`<li>${line}</li>`)}${lines.length > IN_FORCE_SHOWN_MAX && html`<li>… and ${lines.length - IN_FORCE_SHOWN_MAX} more</li>`}</ul>`
}

function Scorecard({ rows }) {
  return html`<section class="scorecard" aria-label="M1 to M10">
    ${rows.map(row => {
      const known = row.value !== null && row.value !== undefined
      return html`<div class="tile ${!known ? '' : row.met === null || row.met === undefined ? '' : row.met ? 'good' : 'bad'}" title=${row.definition ?? row.name}>
        <small>${row.id} ${row.name}</small>
        <b>${known ? scoreValue(row) : '–'}</b>
        <small>${row.target_text ?? row.target ?? 'trend'}${known && row.met !== null && row.met !== undefined ? (row.met ? ' ✓' : ' ✗') : ''}</small>
      </div>`
    })}
  </section>`
}

function scoreValue({ value, unit }) {
  if (unit === 's') return duration(value * 1000)
  if (unit === 'ratio') return `${(value * 100).toFixed(value < 0.1 && value > 0 ? 1 : 0)} %`
  return Number(value).toLocaleString('en', { maximumFractionDigits: 2 })
}

function IncidentList({ incidents, shown, choose }) {
  return html`<nav class="incidents" aria-label="Incidents">
    ${incidents.map(
      incident => html`<button key=${incident.id} class=${incident.id === shown ? 'chosen' : ''} aria-current=${incident.id === shown} onClick=${() => choose(incident.id)}>
        <span class="dot ${incident.severity}" title=${incident.severity}></span>
        <span class="what"><b>${incident.causes[0]?.entity ?? '?'}</b><small>${incident.causes[0]?.signature ?? ''} · ${moment(incident.openedAtMs)}</small></span>
        <span class="pill ${incident.status}">${incident.status}${incident.healedAtMs === null ? '' : ` ${duration(incident.healedAtMs - incident.startedAtMs)}`}</span>
      </button>`
    )}
    ${incidents.length === 0 && html`<p class="empty">All quiet.</p>`}
  </nav>`
}

function Health({ health }) {
  if (!health) return null
  return html`<section class="health" aria-label="Pipeline health">
    <div>
      <h2>Pipeline</h2>
      <table><tbody>${health.checks.map(check => html`<tr><td><span class="state ${check.ok ? 'good' : 'bad'}"><i></i>${check.name}</span></td><td>${check.detail}</td></tr>`)}
        ${Object.entries(health.warnings).map(([what, detail]) => html`<tr><td><span class="state bad"><i></i>${what}</span></td><td>${detail}</td></tr>`)}</tbody></table>
    </div>
    <div>
      <h2>Records behind</h2>
      <table><tbody>${Object.entries(health.lag).map(([name, lag]) => html`<tr><td>${name}</td><td class="number">${lag.toLocaleString('en')}</td></tr>`)}</tbody></table>
    </div>
    <div>
      <h2>Counted since start</h2>
      <table><tbody>${Object.entries(health.counters).map(([name, value]) => html`<tr><td>${name}</td><td class="number">${value.toLocaleString('en')}</td></tr>`)}</tbody></table>
    </div>
  </section>`
}

const root = document.getElementById('app')
root.replaceChildren()
render(html`<${App} />`, root)
