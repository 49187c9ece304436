// One incident on one time axis: the signal with its band, and below it, aligned, anomalies, decisions, actions, verdict.
// Then in words: causes with evidence, every guard of the last decision, every step with its checks.

import { tell } from './api.js'
import { Chart } from './chart.js'
import { duration, moment, quantity, time } from './format.js'
import htm from './lib/htm.js'
import { h } from './lib/preact.js'

const html = htm.bind(h)
const MEMBERS_SHOWN_MAX = 12
const CAUSES_SHOWN_MAX = 4

export function Story({ story, changed }) {
  const { incident, anomalies, decisions, outcomes } = story
  const cause = incident.causes[0]
  const healed = incident.healedAtMs !== null
  return html`
    <h2>${incident.title}</h2>
    <p class="facts">
      <span class="pill ${incident.status}">${incident.status}</span> ${incident.severity} · began ${moment(incident.startedAtMs)} · seen after ${duration(incident.openedAtMs - incident.startedAtMs)}
      ${healed && html` · healthy again after <b>${duration(incident.healedAtMs - incident.startedAtMs)}</b>`} · <code title=${incident.id}>${incident.id.slice(0, 8)}</code>
    </p>
    <${Answers} incident=${incident} />
    <${Chart} story=${story} changed=${changed} />
    <div class="columns">
      <section>
        <h3>Why this cause</h3>
        <ol class="causes">
          ${incident.causes.slice(0, CAUSES_SHOWN_MAX).map(
            (each, rank) => html`<li>
              <details open=${rank === 0}>
                <summary><b>${each.entity}</b> ${each.signature} <meter min="0" max="1" value=${each.score} title=${`score ${each.score.toFixed(2)}`}></meter></summary>
                <ul>${each.evidence.map(sentence => html`<li>${sentence}</li>`)}</ul>
              </details>
            </li>`
          )}
        </ol>
        <h3>What was seen</h3>
        <ul class="members">
          ${[...incident.members]
            .sort((a, b) => a.sinceMs - b.sinceMs)
            .slice(0, MEMBERS_SHOWN_MAX)
            .map(member => html`<li><time>${time(member.sinceMs)}</time> <span class="dot ${member.severity}"></span> ${member.reason}</li>`)}
          ${incident.members.length + incident.membersOmitted > MEMBERS_SHOWN_MAX && html`<li>… and ${incident.members.length + incident.membersOmitted - MEMBERS_SHOWN_MAX} more</li>`}
        </ul>
      </section>
      <section>
        ${decisions.length > 0 && html`<${Decision} decision=${decisions.at(-1)} earlier=${decisions.length - 1} />`}
        ${outcomes.map(outcome => html`<${Outcome} outcome=${outcome} />`)}
        ${decisions.length === 0 && html`<p class="empty">No decision yet${cause ? ` for ${cause.entity}` : ''}.</p>`}
        ${anomalies.length === 0 && html`<p class="empty">Anomalies are being read …</p>`}
      </section>
    </div>
  `
}

/** What a person can say of an incident: that somebody has it, and whether it was one. */
function Answers({ incident }) {
  const label = label => tell('api/labels', { anomalyId: incident.members[0].anomalyId, label, note: 'said in the console', by: 'console' })
  return html`<p class="answers">
    ${incident.status !== 'resolved' && html`<button onClick=${() => tell('api/acknowledgements', { incidentId: incident.id, by: 'console' })}>I have it</button>`}
    ${incident.members.length > 0 && html`<button onClick=${() => label('true_positive')}>Real trouble</button> <button onClick=${() => label('false_positive')}>False alarm</button>`}
  </p>`
}

function Decision({ decision, earlier }) {
  const answer = approved => tell('api/approvals', { decisionId: decision.id, approved, by: 'console' })
  const frozen = decision.guards.some(({ guard, verdict }) => guard === 'target_frozen' && verdict !== 'allow')
  const holding = decision.guards.filter(({ verdict }) => verdict !== 'allow')
  const allowing = decision.guards.filter(({ verdict }) => verdict === 'allow')
  return html`
    <h3>Decision: ${decision.outcome.replace('_', ' ')}${decision.runbook ? ` · ${decision.runbook}` : ''}</h3>
    <p>${decision.reason}${earlier > 0 ? ` (${earlier} earlier)` : ''}</p>
    ${decision.outcome === 'ask' && html`<p><button class="primary" onClick=${() => answer(true)}>Approve</button> <button onClick=${() => answer(false)}>Refuse</button></p>`}
    ${frozen && html`<p><button onClick=${() => tell('api/releases', { target: decision.target, force: true, by: 'console' })}>I looked at it: release ${decision.target}</button></p>`}
    ${holding.length > 0 && html`<${Guards} guards=${holding} />`}
    ${allowing.length > 0 && html`<details><summary>${allowing.length} guards allow it</summary><${Guards} guards=${allowing} /></details>`}
  `
}

function Guards({ guards }) {
  return html`<table class="guards">
    <thead><tr><th>guard</th><th>answer</th><th>why</th></tr></thead>
    <tbody>
      ${guards.map(
        guard => html`<tr>
          <td>${guard.guard.replaceAll('_', ' ')}</td>
          <td><span class="pill ${guard.verdict}">${guard.verdict}</span></td>
          <td title=${JSON.stringify(guard.inputs)}>${guard.reason}${guard.counterfactual ? html`<br /><small>${guard.counterfactual}</small>` : ''}</td>
        </tr>`
      )}
    </tbody>
  </table>`
}

function Outcome({ outcome }) {
  return html`
    <h3>Action: ${outcome.runbook} on ${outcome.target} <span class="pill ${outcome.verdict}">${outcome.verdict}</span></h3>
    <p>${outcome.reason}</p>
    ${outcome.steps.map(
      step => html`<details open=${step.verdict !== 'healed'}>
        <summary><b>${step.name}</b> ${step.driver} ${step.verb}: ${step.result}${step.verdict && step.verdict !== step.result ? `, ${step.verdict}` : ''}${step.undo === 'none' ? '' : `, ${step.undo}`}</summary>
        <table><tbody>${step.checks.map(check => html`<tr><td>${check.name}</td><td><span class="pill ${check.result}">${check.result.replace('_', ' ')}</span></td><td class="number">${quantity(check.value)}</td><td>${check.samples > 1 ? `${check.samples} samples` : ''}</td><td><code>${check.expect}</code></td></tr>`)}</tbody></table>
      </details>`
    )}
  `
}
