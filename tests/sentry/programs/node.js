const http=require('http'),cp=require('child_process'),fs=require('fs'),{Worker,isMainThread}=require('worker_threads');
if(!isMainThread){require('worker_threads').parentPort.postMessage('w');return}
const s=http.createServer((q,r)=>r.end('from node '+q.url));
s.listen(0,'127.0.0.1',()=>{http.get({host:"127.0.0.1",port:s.address().port,path:'/p'},r=>{let d='';r.on('data',c=>d+=c);r.on('end',()=>{console.log(d);
 console.log(cp.execSync('echo sub').toString().trim());
 const w=new Worker(__filename);w.on('message',m=>{console.log('worker',m);
 fs.writeFileSync('/tmp/n.txt','x'.repeat(100000));fs.promises.stat('/tmp/n.txt').then(t=>{console.log(t.size);
 const wt=fs.watch('/tmp',()=>{wt.close();console.log('watched');s.close()});fs.writeFileSync('/tmp/n2.txt','y')})})})})});
