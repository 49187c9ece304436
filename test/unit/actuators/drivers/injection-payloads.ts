// Payloads that mean something to a shell, an option parser, a path, a URL, a header, SQL, a template, an object or a log.

const SHELL = [
  '; id',
  '& id',
  '&& id',
  '| id',
  '|| id',
  '`id`',
  '$(id)',
  '$\u007bIFS}id',
  '> /tmp/x',
  '< /etc/passwd',
  "'; id; '",
  '"; id; "',
  '\\"; id',
  '$HOME',
  '*',
  '?',
  '~root',
  '{a,b}',
  '!!',
  '#comment',
  '\\',
  'a b',
  ' a',
  'a ',
  "a'b",
  'a"b',
  '$0',
  '%PATH%',
  '^',
  '()'
]
const OPTIONS = [
  '-rf',
  '--help',
  '--',
  '-',
  '-e id',
  '--exec=id',
  '-oProxyCommand=id',
  '--user=root',
  '-H host',
  '--force',
  '-M x',
  '--root=/',
  '@file',
  '+x',
  '-1'
]
const PATHS = [
  '../../etc/passwd',
  '/etc/passwd',
  '..',
  '.',
  './x',
  '....//x',
  'a/../b',
  'a/./b',
  '%2e%2e%2f',
  '..%2f',
  '..\\..\\x',
  '//host/x',
  'file:///etc/passwd',
  'C:\\x',
  '/dev/null',
  'x\u2215y'
]
const URLS = [
  'http://169.254.169.254/',
  '//evil.example',
  '@evil.example',
  'x@evil.example/',
  'x?admin=1',
  'x#fragment',
  'x&y=1',
  'x;y',
  'x:80',
  ':@',
  '%00',
  '%0d%0aX-Evil: 1',
  '%2F..%2Fadmin',
  'javascript:alert(1)',
  'x\\@evil',
  '[::1]',
  '127.1'
]
const HEADERS = [
  'a\r\nX-Evil: 1',
  'a\nX-Evil: 1',
  'a\rX',
  'a\r\n\r\nGET / HTTP/1.1',
  'a\u0000b',
  'a\u0085b',
  'a\u2028b',
  '\ud83d\ude00',
  'a\tb',
  'a\u007fb',
  'a\u001b[31m'
]
const SQL = ["' OR 1=1 --", "'; DROP TABLE x; --", '" OR ""="', '1; SELECT 1', "x') UNION SELECT 1 --", '/* x */', "\\' OR 1", 'x\u0000y', '0x41', "N'x'"]
const TEMPLATES = ['{target}', '{key}', '{{7*7}}', '$\u007b7*7}', '<%= 7 %>', '#{7}', '%s%n', '{0}', '{value}', '$1', '$&', '$$', "$'", '[[x]]', '{}', '%d']
const OBJECTS = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'valueOf',
  '__defineGetter__',
  'length',
  'null',
  'undefined',
  'NaN',
  'true',
  '[object Object]'
]
const LOGS = [
  'a\n{"severity":"info"}',
  '\u001b[2J',
  '\u202egnp.exe',
  'a\u0008b',
  '\ufeffx',
  'x'.repeat(255),
  'x'.repeat(10_000),
  '',
  '\ud800',
  '\u0000',
  '\n',
  ' ',
  '\u3000'
]

export const PAYLOADS: readonly string[] = [...new Set([SHELL, OPTIONS, PATHS, URLS, HEADERS, SQL, TEMPLATES, OBJECTS, LOGS].flat())]

const HONEST = 'orders'

/** The payloads alone, behind, before and below an honest name: at least 500 texts. */
export const INJECTIONS: readonly string[] = [
  ...new Set(PAYLOADS.flatMap(payload => [payload, `${HONEST}${payload}`, `${payload}${HONEST}`, `${HONEST}/${payload}`]))
].filter(text => text !== HONEST)
